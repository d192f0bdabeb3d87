package oauth

import "time"

// Refuse says that a peer did not accept the token, although it has not expired: it is not
// returned any longer, and the next caller of Token gets a new one.
func (s *Source) Refuse(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.expires = time.Time{}
	}
}
