// Package natsserver runs a NATS server with JetStream inside this process.
//
// It is an adapter around nats-server for the traps of embedding it: the server's own start reports no error, takes no
// lock on its directory, installs signal handlers that end the process, deletes the streams of a standalone directory
// that is started as a cluster member, and by default acknowledges messages that are not on the disk. Start turns each
// of these into an error that says what to do, or into the safe setting.
//
// The engine does not import this package: a program that wants an embedded server starts one here and hands the engine
// the connection.
package natsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	readyTimeout = 10 * time.Second       // for the listeners to open, after the streams were recovered
	askInterval  = 20 * time.Millisecond  // between two questions whether the server is ready
	askTimeout   = 500 * time.Millisecond // for one answer of the JetStream API
)

// Server is a running NATS server that owns its data directory. Its methods may be called from any goroutine.
type Server struct {
	srv      *server.Server
	opts     Options
	maxStore int64
	lock     *dirLock
	guard    *guard // nil: everybody who gets in may do everything

	stop    sync.Once
	stopped chan struct{} // closed when the lock is released
	stopErr error         // written before stopped is closed
}

// Start locks the data directory, starts a server on it and returns when it serves. The streams that the directory holds
// are recovered by then, which takes time in proportion to them. A cluster member serves before its cluster has a
// leader: see Ready.
//
// ctx bounds the start only. When it ends first, the server is shut down behind the caller's back and the directory
// stays locked until that is done. Errors match the Err variables of this package.
func Start(ctx context.Context, o Options) (*Server, error) {
	return start(ctx, o, freeSpace)
}

func start(ctx context.Context, o Options, free func(string) (int64, error)) (*Server, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	lock, err := openDir(dir, o.Cluster != nil)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, lock: lock, stopped: make(chan struct{})}
	if s.maxStore, err = storeLimit(dir, o.MaxStore, free, o.Logger); err != nil {
		return nil, errors.Join(err, lock.release())
	}
	if err := checkAddresses(ctx, o); err != nil {
		return nil, errors.Join(err, lock.release())
	}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// checkAddresses finds a port in use before the store is opened, and with the operating system's own error. One that is
// taken in between is found by run.
func checkAddresses(ctx context.Context, o Options) error {
	addrs := []string{o.Listen}
	if o.Cluster != nil {
		addrs = append(addrs, o.Cluster.Listen)
	}
	for _, addr := range addrs {
		if addr == "" {
			continue
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fail(ErrAddressInUse, err, "%s is in use by another process: stop it, or listen on another port", addr)
		}
		if err != nil {
			return fail(ErrListen, err, "cannot listen on %s: choose an address of this machine and a port that this user may use", addr)
		}
		if err := l.Close(); err != nil {
			return fail(ErrListen, err, "cannot listen on %s", addr)
		}
	}
	return nil
}

// run starts the server. On an error everything is stopped and the lock released, or will be.
func (s *Server) run(ctx context.Context) error {
	so, err := s.opts.serverOptions(s.maxStore)
	if err != nil {
		return errors.Join(err, s.lock.release())
	}
	if s.opts.Guarded {
		s.guard = newGuard(s.opts)
		so.Authorization, so.Username, so.Password, so.CustomClientAuthentication = "", "", "", s.guard
	}
	srv, err := server.NewServer(so)
	if err != nil {
		return errors.Join(fail(ErrServer, err, "the NATS server refused its options"), s.lock.release())
	}
	s.srv = srv
	log := &logger{to: s.opts.Logger}
	srv.SetLoggerV2(log, false, false, false)

	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start() // returns after recovery and can not be interrupted
	}()
	select {
	case <-started:
	case <-ctx.Done():
		go func() {
			<-started
			s.stop.Do(s.shutdown)
		}()
		return fmt.Errorf("starting the NATS server on %s: %w", s.opts.Dir, context.Cause(ctx))
	}
	if err := s.verify(ctx, log); err != nil {
		s.stop.Do(s.shutdown)
		return errors.Join(err, s.stopErr)
	}
	return nil
}

// verify finds out whether the server runs, which its Start does not say.
func (s *Server) verify(ctx context.Context, log *logger) error {
	if msg := log.firstFatal(); msg != "" {
		return fail(ErrServer, nil, "the NATS server on %s did not start: %s", s.opts.Dir, msg)
	}
	if !s.srv.ReadyForConnections(readyTimeout) {
		return fail(ErrServer, nil, "the NATS server on %s does not accept connections after %s: %s", s.opts.Dir, readyTimeout, log.firstFatal())
	}
	if !s.srv.JetStreamEnabled() {
		return fail(ErrServer, nil, "the NATS server on %s runs without JetStream", s.opts.Dir)
	}
	if s.opts.Cluster != nil {
		return nil // it answers when it has a leader, for which the other members may have to be started
	}
	// JetStreamEnabled is true after some failures, too; an answer is proof.
	return s.Ready(ctx)
}

// Ready waits until JetStream answers. A standalone server does when Start returns; a cluster member does when the
// cluster has elected a leader and this member has caught up with it. It returns the error of ctx, or ErrStopped.
func (s *Server) Ready(ctx context.Context) error {
	nc, err := s.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	tick := time.NewTicker(askInterval)
	defer tick.Stop()
	for {
		if s.srv.JetStreamIsCurrent() {
			ask, cancel := context.WithTimeout(ctx, askTimeout)
			_, err = js.AccountInfo(ask)
			cancel()
			if err == nil {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-s.stopped:
			return ErrStopped
		case <-ctx.Done():
			if err == nil {
				err = errors.New("the cluster has no leader")
			}
			return fmt.Errorf("waiting for JetStream on %s: %w (%w)", s.opts.Dir, context.Cause(ctx), err)
		}
	}
}

// Connect opens a connection without a network, with the server's credentials. It works with and without a listener.
// The caller closes it, before Shutdown. opts come after the settings of this package and so override them.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	select {
	case <-s.stopped:
		return nil, ErrStopped
	default:
	}
	all := []nats.Option{nats.Name("tasker"), nats.InProcessServer(s.srv)}
	switch {
	case s.guard != nil:
		all = append(all, s.guard.access()...)
	case s.opts.Token != "":
		all = append(all, nats.Token(s.opts.Token))
	case s.opts.Username != "":
		all = append(all, nats.UserInfo(s.opts.Username, s.opts.Password))
	}
	nc, err := nats.Connect("", append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the embedded NATS server: %w", err)
	}
	return nc, nil
}

// URL is what a client on this machine connects to, without credentials; "" without a listener.
func (s *Server) URL() string {
	addr, ok := s.srv.Addr().(*net.TCPAddr)
	if !ok || s.opts.Listen == "" {
		return ""
	}
	if addr.IP.IsUnspecified() {
		return fmt.Sprintf("nats://localhost:%d", addr.Port)
	}
	return "nats://" + addr.String()
}

// Dir is the absolute path of the data directory.
func (s *Server) Dir() string { return s.opts.Dir }

// Durability is the setting that the server runs with.
func (s *Server) Durability() Durability { return s.opts.Durability }

// MaxStore is the number of bytes that JetStream may use, after the defaults and limits of Options.MaxStore.
func (s *Server) MaxStore() int64 { return s.maxStore }

// IsMetaLeader reports whether this member leads the cluster's JetStream. A standalone server does not.
func (s *Server) IsMetaLeader() bool { return s.opts.Cluster != nil && s.srv.JetStreamIsLeader() }

// OnlinePeers names the members that the leader of the cluster's JetStream can place streams on, itself included. It is
// nil on a server that is not the leader.
func (s *Server) OnlinePeers() []string {
	if !s.IsMetaLeader() {
		return nil
	}
	return s.srv.JetStreamClusterPeers()
}

// Shutdown stops the server, flushes its store and releases the data directory last. A second call waits for the first.
// When ctx ends first, the stop goes on and the directory stays locked until it is done.
func (s *Server) Shutdown(ctx context.Context) error {
	go s.stop.Do(s.shutdown)
	select {
	case <-s.stopped:
		return s.stopErr
	case <-ctx.Done():
		select {
		case <-s.stopped:
			return s.stopErr
		default:
		}
		return fmt.Errorf("the NATS server on %s is still stopping, its directory stays locked: %w", s.opts.Dir, context.Cause(ctx))
	}
}

func (s *Server) shutdown() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	if err := s.lock.release(); err != nil {
		s.stopErr = fmt.Errorf("releasing data directory %s: %w", s.opts.Dir, err)
	}
	close(s.stopped)
}
