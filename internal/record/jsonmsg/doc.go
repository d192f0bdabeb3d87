// Package jsonmsg makes the value of a Kafka record out of a request: one JSON
// object in UTF-8.
//
// The fields, in this order: method, headers, uri, uri_args, body, body_args,
// body_base64. [request.Fields] says which of them are wanted. A consumer of the records
// of Kong's own plugin reads these unchanged; where that plugin's result was an
// accident of its JSON library (digits of numbers lost, bytes that are not
// UTF-8 inside JSON) this package does the right thing instead:
//
//   - uri: bytes from 0x80 on are percent-encoded if it is not valid UTF-8.
//   - headers and method: what is not valid UTF-8 is read as ISO-8859-1
//     (RFC 9110, section 5.5).
//   - body: text where the content type is text and the bytes are UTF-8, else
//     base64 with body_base64. Nothing of it is ever lost.
//   - arguments, names and contents of parts: each byte that is no part of
//     valid UTF-8 becomes one U+FFFD. The exact bytes are in uri or body.
//   - body_args of JSON is the client's own text: every digit, every escape, in
//     the order in which it was written. What stops strict readers is put right,
//     see appendCompactJSON: white space, half surrogate pairs, equal names.
//   - in all other objects, what comes repeatedly with one name is one array.
//
// So a message is always one line, and any reader of JSON takes it (RFC 7493, but
// for numbers, which keep their digits, and noncharacters, which no reader refuses).
//
// What counts where HTTP leaves a choice:
//
//   - The first Content-Type counts. Content-Encoding is a list, over all of its
//     headers (RFC 9110, section 8.4); empty elements count for nothing, and any
//     coding but identity makes the body binary and body_args {}, whatever the
//     content type.
//   - body_args of a form or multipart body is there whether body is text or
//     base64.
//   - JSON is that of RFC 8259 alone: no byte order mark, and a body of nothing
//     but white space is no JSON. It may nest [maxNesting] deep.
//   - Of arguments and of parts the first 1000 are taken, counted as Kong counts:
//     with those that are dropped for having no name.
package jsonmsg
