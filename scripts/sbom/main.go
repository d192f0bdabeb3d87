// Command sbom prints the software bill of materials of a Go program, as SPDX 2.3 in JSON:
// the program with its SHA-256, Go's standard library, and each module that is linked, as
// the program itself records them (go version -m). It is reproducible: the time is that of
// SOURCE_DATE_EPOCH, and the namespace is made of the program's checksum.
//
//	sbom NAME VERSION FILE
package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: sbom NAME VERSION FILE")
	}
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH has to be the time of the document, in seconds since 1970: %w", err)
	}
	program, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("%s does not say what is linked: %w", args[2], err)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(newDocument(args[0], args[1], program, info, time.Unix(epoch, 0)))
}

// document and the types below are those of SPDX 2.3, as far as they are used; see
// https://spdx.github.io/spdx-spec/v2.3/.
type document struct {
	Version       string         `json:"spdxVersion"`
	DataLicense   string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      creation       `json:"creationInfo"`
	Packages      []pkg          `json:"packages"`
	Relationships []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type pkg struct {
	Name          string        `json:"name"`
	ID            string        `json:"SPDXID"`
	Version       string        `json:"versionInfo"`
	Download      string        `json:"downloadLocation"`
	FilesAnalyzed bool          `json:"filesAnalyzed"`
	Declared      string        `json:"licenseDeclared"`
	Concluded     string        `json:"licenseConcluded"`
	Copyright     string        `json:"copyrightText"`
	Purpose       string        `json:"primaryPackagePurpose"`
	Checksums     []checksum    `json:"checksums,omitempty"`
	Refs          []externalRef `json:"externalRefs,omitempty"`
	Comment       string        `json:"comment,omitempty"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type externalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

const (
	documentID  = "SPDXRef-DOCUMENT"
	noAssertion = "NOASSERTION"
)

// newDocument describes a program that was built from info.
func newDocument(name, version string, program []byte, info *debug.BuildInfo, created time.Time) *document {
	sum := sha256.Sum256(program)
	hexSum := hex.EncodeToString(sum[:])
	main := newPackage(name, version, "APPLICATION")
	main.Declared = "Apache-2.0"
	main.Checksums = []checksum{{"SHA256", hexSum}}
	main.Comment = "THIRD_PARTY_NOTICES has the licences of what is linked."
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	stdlib := newPackage("stdlib", goVersion, "LIBRARY")
	stdlib.Declared = "BSD-3-Clause"
	stdlib.Refs = purl("stdlib", goVersion)
	d := &document{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: documentID, Name: name + "-" + version,
		Namespace:     "urn:sha256:" + hexSum,
		Creation:      creation{created.UTC().Format(time.RFC3339), []string{"Tool: kafka-upstream-sbom"}},
		Packages:      []pkg{main, stdlib},
		Relationships: []relationship{{documentID, "DESCRIBES", main.ID}, {main.ID, "DEPENDS_ON", stdlib.ID}},
	}
	for _, m := range info.Deps {
		m = cmp.Or(m.Replace, m)
		p := newPackage(m.Path, m.Version, "LIBRARY")
		p.Refs = purl(m.Path, m.Version)
		if m.Sum != "" {
			p.Comment = "go.sum: " + m.Sum
		}
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, relationship{main.ID, "DEPENDS_ON", p.ID})
	}
	return d
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func newPackage(name, version, purpose string) pkg {
	return pkg{
		Name: name, ID: "SPDXRef-" + notInID.ReplaceAllString(name, "-"), Version: version, Purpose: purpose,
		Download: noAssertion, Declared: noAssertion, Concluded: noAssertion, Copyright: noAssertion,
	}
}

// purl returns the package URL of a module, by which scanners look for vulnerabilities.
func purl(path, version string) []externalRef {
	return []externalRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")}}
}
