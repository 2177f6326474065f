package main

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateAge is how long a certificate is used before its files are looked at again.
const certificateAge = time.Minute

// certificate is read from its files again when they change, so that a renewal needs no restart.
type certificate struct {
	cert, key string
	logger    *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	looked  time.Time
	changed [2]time.Time
}

// get is tls.Config.GetCertificate. While the new files do not fit each other the old pair goes on.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair != nil && time.Since(c.looked) < certificateAge {
		return c.pair, nil
	}
	c.looked = time.Now()
	changed := [2]time.Time{modified(c.cert), modified(c.key)}
	if c.pair != nil && changed == c.changed {
		return c.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	switch {
	case err == nil:
		c.pair, c.changed = &pair, changed
	case c.pair == nil:
		return nil, err
	default:
		c.logger.Warn("the new certificate cannot be used, and the old one goes on", "error", err)
	}
	return c.pair, nil
}

// modified is the zero time for a file that is not there.
func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
