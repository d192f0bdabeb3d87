// Package request reads one HTTP request, as Kong tells it, into a [Request].
package request
