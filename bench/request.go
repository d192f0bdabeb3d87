package main

import (
	"fmt"
	"strconv"
	"strings"
)

// baselineRequest is the request that all is compared with: a POST of 1 KiB of
// JSON with ten headers.
func baselineRequest() *httpRequest { return jsonRequest(1024) }

// jsonRequest is the baseline request with a body of that many bytes, an order
// with its items.
func jsonRequest(size int) *httpRequest {
	r := &httpRequest{Method: "POST", Path: "/orders/4711", Query: "source=web&region=eu-west", Body: jsonBody(size)}
	r.Headers = [][2]string{
		{"host", "orders.example.com"},
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		{"accept", "application/json"},
		{"accept-encoding", "gzip, deflate, br"},
		{"content-type", "application/json"},
		{"content-length", strconv.Itoa(size)},
		{"x-request-id", "4d2f0b5e-6f0c-4b6e-9a63-5d8f0d1c2b3a"},
		{"x-forwarded-for", "203.0.113.7"},
		{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		{"authorization", "Bearer 0123456789abcdef0123456789abcdef"},
	}
	return r
}

// jsonBody is a JSON object of exactly that many bytes: an order with an
// address, and with as many items of some 150 bytes as there is room for.
func jsonBody(size int) []byte {
	const (
		head = `{"order":"a-4711","placed":"2026-01-31T12:00:00Z","total":129.9,`
		who  = `"currency":"EUR","customer":{"id":90210,"name":"Zoë Müller","street":"Lange Straße 12","city":"Köln","vip":false},`
		list = `"items":[`
		tail = `],"note":"`
		end  = `"}`
	)
	var b strings.Builder
	b.WriteString(head)
	if size > 512 {
		b.WriteString(who)
	}
	b.WriteString(list)
	for i := 0; ; i++ {
		item := fmt.Sprintf(`{"sku":"p-%05d","count":%d,"price":%d.%02d,"description":"A box of a dozen blue pencils, with an eraser, made of wood from the region"}`,
			i, i%7+1, i%300, i%100)
		if i > 0 {
			item = "," + item
		}
		if b.Len()+len(item)+len(tail)+len(end) > size {
			break
		}
		b.WriteString(item)
	}
	b.WriteString(tail)
	b.WriteString(strings.Repeat("x", max(0, size-b.Len()-len(end))))
	b.WriteString(end)
	return []byte(b.String())
}

// withHeaders returns the request with n headers in all.
func (r *httpRequest) withHeaders(n int) *httpRequest {
	c := *r
	c.Headers = append([][2]string(nil), r.Headers...)
	for i := len(c.Headers); i < n; i++ {
		c.Headers = append(c.Headers, [2]string{fmt.Sprintf("x-header-%04d", i), fmt.Sprintf("value number %04d", i)})
	}
	return &c
}
