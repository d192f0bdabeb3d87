//go:build !linux

package bodyfile

import "errors"

// PeerUID fails: this system does not say whose process a peer is.
func PeerUID(any) (uint32, error) { return 0, errors.ErrUnsupported }
