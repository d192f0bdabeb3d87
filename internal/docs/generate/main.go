// Command generate writes the generated parts of the documents, the page for man(1), and
// the companion handler's schema. go generate runs it, in the directory of package docs.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"kafka-upstream/internal/docs"
	"kafka-upstream/schema"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	help, err := exec.Command("go", "run", "kafka-upstream/cmd/kafka-upstream", "-help").CombinedOutput()
	if err != nil {
		return fmt.Errorf("asking the program for its flags: %w: %s", err, help)
	}
	file := filepath.Join("..", "..", docs.ConfigurationFile)
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var examples []docs.Document
	for _, path := range docs.ExampleFiles {
		text, err := os.ReadFile(filepath.Join("..", "..", path))
		if err != nil {
			return err
		}
		examples = append(examples, docs.Document{Path: path, Text: text})
	}
	document, err = docs.Configuration(document, string(help), examples)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, document, 0o644); err != nil {
		return err
	}
	page, err := docs.ManPage(string(help))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join("..", "..", docs.ManPageFile), page, 0o644); err != nil {
		return err
	}
	lua, err := docs.Schema(schema.JSON())
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("..", "..", docs.SchemaFile), lua, 0o644)
}
