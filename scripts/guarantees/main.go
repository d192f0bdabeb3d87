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
	"FAULT":  "| fault | where | answers | lost | doubled | recovered after |\n|---|---|---|---|---|---|\n",
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
