// Command site makes a website of the documents at the root and in docs: plain HTML and one style
// sheet, which work without a server and without JavaScript. docs/README.md is the first page,
// and its tables are the navigation.
//
//	site ROOT OUTPUT
//
// ROOT is the repository's root. OUTPUT is a directory, which is removed first if site has made it.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: site ROOT OUTPUT")
		os.Exit(2)
	}
	n, err := build(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
	fmt.Printf("wrote %d pages into %s\n", n, os.Args[2])
}
