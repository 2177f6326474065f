package natsserver

import (
	"fmt"
	"log/slog"
	"sync"
)

// logger passes the server's warnings and errors on and keeps its first fatal one, because that is the only trace a
// failed start leaves: the server's Start returns nothing. It does not end the process, as the server's own loggers do.
type logger struct {
	to *slog.Logger

	mu    sync.Mutex
	fatal string
}

func (l *logger) Warnf(format string, v ...any)  { l.to.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Errorf(format string, v ...any) { l.to.Error("nats: " + fmt.Sprintf(format, v...)) }

func (l *logger) Fatalf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	l.mu.Lock()
	if l.fatal == "" {
		l.fatal = msg
	}
	l.mu.Unlock()
	l.to.Error("nats: " + msg)
}

func (l *logger) Noticef(string, ...any) {}
func (l *logger) Debugf(string, ...any)  {}
func (l *logger) Tracef(string, ...any)  {}

// firstFatal is "" as long as nothing was fatal.
func (l *logger) firstFatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
