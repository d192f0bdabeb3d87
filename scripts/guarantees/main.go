// Command guarantees writes the tables of docs/guarantees.md from what the
// tests print, which it reads from stdin and passes on to stdout. See `make
// guarantees`.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
)

const document = "docs/guarantees.md"

// tables are the tables by the word that begins their rows in a test's output.
var tables = map[string]string{
	"FAULT":  "| fault | where | answers | lost | doubled | recovered after | lost, not idempotent | doubled, not idempotent |\n|---|---|---|---|---|---|---|---|\n",
	"MEMORY": "| a record's value | records in the buffer | their bytes | resident memory |\n|---|---|---|---|\n",
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "guarantees: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	rows := make(map[string]string)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	failed := false
	for in.Scan() {
		line := in.Text()
		fmt.Println(line)
		failed = failed || strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "--- FAIL")
		for table := range tables {
			if _, row, ok := strings.Cut(line, ": "+table+" |"); ok {
				rows[table] += "|" + row + "\n"
			}
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	if failed {
		return fmt.Errorf("a test has failed: %s is left as it is", document)
	}
	b, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	rows["FAULT"] = sideBySide(rows["FAULT"])
	for table, head := range tables {
		if rows[table] == "" {
			return fmt.Errorf("no test has printed a row of the table %s", table)
		}
		begin, end := []byte("<!-- "+table+" -->\n"), []byte("<!-- end of "+table+" -->")
		before, rest, ok1 := bytes.Cut(b, begin)
		_, after, ok2 := bytes.Cut(rest, end)
		if !ok1 || !ok2 {
			return fmt.Errorf("%s lacks the markers of the table %s", document, table)
		}
		b = bytes.Join([][]byte{before, begin, []byte(head + rows[table]), end, after}, nil)
	}
	return os.WriteFile(document, b, 0o644)
}

// sideBySide makes one row of each two for the same fault: they begin with the fault, where it was,
// and whether the producer was idempotent, which is the first of the two if it is there. Where a
// fault was done once only, the other's cells are empty.
func sideBySide(rows string) string {
	var order []string
	cells := make(map[string]map[string][]string) // by fault and where, and by whether it is idempotent
	for row := range strings.Lines(rows) {
		c := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), " | ")
		if len(c) != 7 {
			continue
		}
		for i := range c {
			c[i] = strings.TrimSpace(c[i])
		}
		name := c[0] + " | " + c[1]
		if cells[name] == nil {
			cells[name] = make(map[string][]string)
			order = append(order, name)
		}
		cells[name][c[2]] = c[3:]
	}
	var b strings.Builder
	for _, name := range order {
		on, off := cells[name]["true"], cells[name]["false"]
		if on == nil {
			on = make([]string, 4)
		}
		if off == nil {
			off = make([]string, 4)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, strings.Join(on, " | "), off[1], off[2])
	}
	return b.String()
}
