package docs

import (
	"errors"
	"strings"
)

// ManPageFile is the program's page for man(1), from the repository's root.
const ManPageFile = "packaging/kafka-upstream.8"

// manHead and manTail stand around the flags.
const (
	manHead = `.\" make docs writes this page from what kafka-upstream -help prints.
.TH KAFKA\-UPSTREAM 8 "" kafka\-upstream "System Manager's Manual"
.SH NAME
kafka\-upstream \- plugin server for Kong Gateway that writes requests to Apache Kafka
.SH SYNOPSIS
.B kafka\-upstream
.RI [ flags ]
.br
.B kafka\-upstream \-check
.I file
.br
.B kafka\-upstream \-companion
.RI [ directory ]
.SH DESCRIPTION
.B kafka\-upstream
turns the HTTP requests of the routes that it is configured for into Kafka records, and
answers the clients.
Kong hands the requests over through a unix socket.
The program is started by Kong, or by
.BR systemd (1)
as
.IR kafka\-upstream.service .
.PP
The plugin's fields, such as the brokers and the topic, are part of Kong's configuration.
All settings of the process are flags.
.SH OPTIONS
`
	manTail = `.SH EXIT STATUS
0 after a shutdown that left no record undelivered; 1 after an error, or if records were
left; 2 if a flag is wrong.
.SH SIGNALS
.TP
.BR TERM ", " INT ", " QUIT ", " HUP
answer the requests in flight and drain the buffers, for at most
.BR \-drain\-timeout .
A second TERM or INT ends the drain at once.
.TP
.B USR1
reopens the log file.
.SH ENVIRONMENT
Nothing is read but the variables of AWS, such as
.BR AWS_REGION ,
with which the program gets credentials for Amazon MSK.
.SH FILES
.TP
.I /etc/default/kafka\-upstream
the flags and variables of
.IR kafka\-upstream.service .
Kong does not read it.
.TP
.I /run/kafka\-upstream/kafka\-upstream.socket
the socket of the service.
.TP
.I /usr/local/kong/kafka\-upstream.socket
the socket of a program that Kong starts.
.TP
.I /usr/local/kong/logs/kafka\-upstream.log
its log file. That of the service is the journal.
.TP
.I /usr/local/share/lua/5.1/kong/plugins/kafka\-upstream/
the companion handler, which Kong loads if it is there.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1)
`
)

// ManPage returns the page for man(1). help is what the program prints with -help. The error
// says what is not as Go prints flags.
func ManPage(help string) ([]byte, error) {
	_, flags, ok := strings.Cut(help, "Flags:\n")
	if !ok {
		return nil, errors.New("what -help prints has no line \"Flags:\"")
	}
	var b strings.Builder
	b.WriteString(manHead)
	for line := range strings.Lines(flags) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "-"); ok {
			name, value, _ := strings.Cut(name, " ")
			b.WriteString(".TP\n.BI \\-" + roff(name))
			if value != "" {
				b.WriteString(` "\ ` + roff(value) + `"`)
			}
			b.WriteByte('\n')
		} else if line != "" {
			b.WriteString(roff(line) + "\n")
		}
	}
	b.WriteString(manTail)
	return []byte(b.String()), nil
}

// roff escapes text for troff(1): no hyphen becomes a typographic one, and no line is a
// request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
