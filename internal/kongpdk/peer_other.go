//go:build !linux

package kongpdk

import "errors"

func peerUID(stream) (uint32, error) { return 0, errors.ErrUnsupported }
