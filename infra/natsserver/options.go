package natsserver

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Limits of Options, and what it has when it says nothing.
const (
	DefaultMaxPayload = 1 << 20  // bytes of one message
	MinMaxPayload     = 4 << 10  // below it the JetStream API's own answers do not fit
	MaxMaxPayload     = 8 << 20  // above it the server warns and every connection may buffer as much
	MinMaxStore       = 64 << 20 // bytes that JetStream may use, at least
	MinFreeSpace      = 64 << 20 // bytes that must be free on the disk at start

	maxMemory    = 64 << 20 // for streams in memory; the log is never one of them
	anyLoopback  = "127.0.0.1:0"
	maxConsumers = 4096 // per stream; the server's own default of 1,000 is fewer than a large fleet of workers needs
)

// Durability says when an acknowledged append is on the disk.
type Durability string

const (
	// Strict has the disk synced before every acknowledgement: what was acknowledged survives power loss.
	Strict Durability = "strict"
	// Interval has it synced once a second: what was acknowledged survives kill -9, power loss costs the last second.
	Interval Durability = "interval"
)

// ParseDurability reads the words of the configuration: "strict" or "interval".
func ParseDurability(s string) (Durability, error) {
	switch d := Durability(s); d {
	case Strict, Interval:
		return d, nil
	default:
		return "", fmt.Errorf("durability %q is unknown: it is %q or %q", s, Strict, Interval)
	}
}

// Options says how an embedded server is started. Dir is required, all else has a default.
type Options struct {
	// Dir is the data directory, created when it does not exist. One Server uses it at a time: it is locked.
	Dir string
	// Durability is Strict unless said otherwise. It holds for every stream of the server.
	Durability Durability
	// Listen is HOST:PORT for clients of other processes, port 0 for any free one; "" for none. A host that is not
	// loopback (0.0.0.0, a name other than localhost) is refused without Token or Username and Password. A cluster member
	// needs a listener: with "" it has one on loopback that only this process can enter.
	Listen string
	// Token is the secret that clients present. It excludes Username and Password.
	Token string
	// Username and Password are what clients present instead; either both or none.
	Username, Password string
	// Guarded keeps what only an engine may do for connections made by Connect: whoever comes through the listener can
	// submit, operate and read, but not publish to the log, take a partition, or make, change and delete streams. It knows
	// Tasker's names with the default prefix only. Other engines cannot run on a guarded server.
	Guarded bool
	// MaxStore is the number of bytes that JetStream may use, at least MinMaxStore. 0 means: what is stored, plus 80 % of
	// what is free at start. More than that is lowered to it with a warning, because a full disk stops JetStream for good
	// until a restart, while the limit only refuses appends.
	MaxStore int64
	// MaxPayload is the largest message in bytes, between MinMaxPayload and MaxMaxPayload, default DefaultMaxPayload.
	MaxPayload int32
	// Cluster makes the server a member of a cluster; nil for a standalone one. A directory stays what it was first.
	Cluster *Cluster
	// Logger gets the server's warnings and errors; nil discards them.
	Logger *slog.Logger
}

// Cluster says how a server finds the other members.
type Cluster struct {
	// Name is the same on every member.
	Name string
	// ServerName is different on every member and never changes: the replicas of a stream are known by it.
	ServerName string
	// Listen is HOST:PORT for the other members, port 0 for any free one. The rule of Options.Listen holds, with Username and Password.
	Listen string
	// Routes are the nats://HOST:PORT of all members (its own may be among them). Their number is the size of the
	// cluster at its first start, so all must be named.
	Routes []string
	// Username and Password are what members present to each other; either both or none.
	Username, Password string
}

func (o Options) withDefaults() Options {
	if o.Durability == "" {
		o.Durability = Strict
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = DefaultMaxPayload
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Listen == "" && o.needsListener() && o.Token == "" && o.Username == "" {
		o.Token = rand.Text() // nobody asked for this listener, so nobody else gets in
	}
	return o
}

// needsListener: a cluster member without a client listener never opens its routes, and its shutdown never returns
// (nats-server 2.15: StartRouting waits for the accept loop that DontListen leaves out). It gets one on loopback.
func (o Options) needsListener() bool { return o.Listen != "" || o.Cluster != nil }

func (o Options) validate() error {
	if o.Dir == "" {
		return invalid("no data directory: set one with --data")
	}
	if _, err := ParseDurability(string(o.Durability)); err != nil {
		return invalid("%v", err)
	}
	if o.MaxStore != 0 && o.MaxStore < MinMaxStore {
		return invalid("the store limit is %d bytes, it must be at least %d", o.MaxStore, MinMaxStore)
	}
	if o.MaxPayload < MinMaxPayload || o.MaxPayload > MaxMaxPayload {
		return invalid("the payload limit is %d bytes, it must be between %d and %d", o.MaxPayload, MinMaxPayload, MaxMaxPayload)
	}
	if (o.Username == "") != (o.Password == "") {
		return invalid("a username needs a password and a password a username")
	}
	if o.Token != "" && o.Username != "" {
		return invalid("a token and a username exclude each other")
	}
	if o.Listen != "" {
		if err := checkListen(o.Listen, o.Token != "" || o.Username != "", "clients", "a token, or a username and a password"); err != nil {
			return err
		}
	}
	if o.Cluster != nil {
		return o.Cluster.validate()
	}
	return nil
}

func (c *Cluster) validate() error {
	switch {
	case c.Name == "" || strings.ContainsAny(c.Name, " \t"):
		return invalid("the cluster's name is %q: it must not be empty and has no spaces", c.Name)
	case c.ServerName == "" || strings.ContainsAny(c.ServerName, " \t"):
		return invalid("the server's name is %q: it must not be empty and has no spaces", c.ServerName)
	case len(c.Routes) < 2:
		return invalid("a cluster of one never elects a leader: name the routes of all members, or run standalone")
	case (c.Username == "") != (c.Password == ""):
		return invalid("the cluster's username needs a password and its password a username")
	}
	if _, err := c.routes(); err != nil {
		return err
	}
	return checkListen(c.Listen, c.Username != "", "cluster members", "the cluster's username and password")
}

func (c *Cluster) routes() ([]*url.URL, error) {
	routes := make([]*url.URL, 0, len(c.Routes))
	for _, r := range c.Routes {
		u, err := url.Parse(r)
		if err != nil || u.Host == "" || u.Port() == "" {
			return nil, invalid("route %q is not of the form nats://HOST:PORT", r)
		}
		if u.User == nil && c.Username != "" {
			u.User = url.UserPassword(c.Username, c.Password)
		}
		routes = append(routes, u)
	}
	return routes, nil
}

// serverOptions translates o, which is valid, for the NATS server.
func (o Options) serverOptions(maxStore int64) (*server.Options, error) {
	so := &server.Options{
		ServerName:         "tasker",
		DontListen:         true,
		NoSigs:             true, // the handlers that the server would install call os.Exit
		Authorization:      o.Token,
		Username:           o.Username,
		Password:           o.Password,
		MaxPayload:         o.MaxPayload,
		JetStream:          true,
		StoreDir:           o.Dir,
		JetStreamMaxStore:  maxStore,
		JetStreamMaxMemory: maxMemory,
		JetStreamLimits:    server.JSLimitOpts{DefaultMaxConsumers: maxConsumers},
	}
	switch o.Durability {
	case Strict:
		so.SyncAlways = true
	case Interval:
		so.SyncInterval = time.Second
	}
	if o.needsListener() {
		listen := o.Listen
		if listen == "" {
			listen = anyLoopback
		}
		host, port, err := splitListen(listen)
		if err != nil {
			return nil, err
		}
		so.DontListen, so.Host, so.Port = false, host, port
	}
	if c := o.Cluster; c != nil {
		host, port, err := splitListen(c.Listen)
		if err != nil {
			return nil, err
		}
		routes, err := c.routes()
		if err != nil {
			return nil, err
		}
		so.ServerName = c.ServerName
		so.Cluster = server.ClusterOpts{Name: c.Name, Host: host, Port: port, Username: c.Username, Password: c.Password}
		so.Routes = routes
	}
	return so, nil
}

// splitListen gives the port as the NATS server wants it: -1 for any free one, since 0 is its default port.
func splitListen(listen string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, invalid("listen address %q is not of the form HOST:PORT: %v", listen, err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, invalid("listen address %q has no port between 0 and 65535", listen)
	}
	if n == 0 {
		return host, -1, nil
	}
	return host, int(n), nil
}

func checkListen(listen string, credentials bool, who, which string) error {
	host, _, err := splitListen(listen)
	if err != nil {
		return err
	}
	if credentials || isLoopback(host) {
		return nil
	}
	return fail(ErrCredentials, nil, "listening for %s on %s would let every machine that reaches it in: set %s, or listen on 127.0.0.1", who, listen, which)
}

// isLoopback trusts addresses and the one name that is reserved for them; any other name may resolve to anything.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func invalid(format string, args ...any) error {
	return fail(ErrInvalidOptions, nil, format, args...)
}
