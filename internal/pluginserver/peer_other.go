//go:build !linux

package pluginserver

import "errors"

func peerUID(stream) (uint32, error) { return 0, errors.ErrUnsupported }
