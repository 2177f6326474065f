package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// slowRTT is a way to the server that every commit notices.
const slowRTT = 50 * time.Millisecond

// leastNATS is the oldest server with message TTLs, which leases need.
var leastNATS = [2]int{2, 11}

// reach finds a way to the server: the one that is named, the one that runs on the directory, or one of our own.
func (d *doctor) reach(ctx context.Context) bool {
	d.config.Logger = d.a.logger(d.a.stderrLines(), true)
	switch {
	case d.f.url != "":
		if err := d.f.access.useURL(&d.config, d.f.url); err != nil {
			d.note("nats", fails, "", "%v", err)
			return false
		}
		d.connect = func(o ...nats.Option) (*nats.Conn, error) {
			return nats.Connect(d.config.URL, append(d.config.NATSOptions, o...)...)
		}
	case d.f.context != "":
		d.config.NATSContext = d.f.context
		d.connect = func(o ...nats.Option) (*nats.Conn, error) {
			nc, _, err := natscontext.Connect(d.f.context, o...)
			return nc, err
		}
	case d.dir.Locked:
		return d.running()
	case d.dir.LockProblem != nil || !d.ours:
		d.note("nats", warns, fmt.Sprintf("run tasker doctor as user %d", d.dir.UID), "the log was not looked at: that would make files that its server could not read")
		return false
	default:
		server, err := natsserver.Start(ctx, natsserver.Options{Dir: d.f.data, Logger: d.config.Logger})
		if err != nil {
			d.note("nats", fails, "", "%v", err)
			return false
		}
		d.own, d.config.StoreLimit = server, server.MaxStore()
		d.connect = func(o ...nats.Option) (*nats.Conn, error) { return server.Connect(o...) }
		d.config.Connect = d.connect
	}
	return true
}

// running reads how the server of the directory is reached.
func (d *doctor) running() bool {
	path := servingPath(d.f.data)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		d.note("nats", warns, "ask tasker doctor again when it serves; `tasker run` never does", "the process that runs on the directory serves nobody (there is no %s): the log was not looked at", shownPath(path))
		return false
	}
	var s serving
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		d.note("nats", fails, "restart the server, which writes it anew", "%s cannot be read: %v", shownPath(path), err)
		return false
	}
	d.connect = func(o ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(s.URL, append(o, nats.Token(s.Token))...)
	}
	d.config.Connect = d.connect
	return true
}

// server looks at NATS; false when there is no log to look at.
func (d *doctor) server(ctx context.Context) bool {
	var err error
	if d.nats, err = natslog.Inspect(ctx, natslog.Options{Connect: d.connect, Logger: d.config.Logger, StoreLimit: d.config.StoreLimit}); err != nil {
		d.note("nats", fails, "start it, or correct the address or the credentials", "%v", err)
		return false
	}
	i := d.nats
	if i.AccountError != nil {
		d.note("nats", fails, "switch JetStream on for this account, in the configuration of the server", "NATS %s answers, and JetStream does not: %v", i.Version, i.AccountError)
		return false
	}
	name := i.Server
	if i.Cluster != "" {
		name += " of cluster " + i.Cluster
	}
	switch text := fmt.Sprintf("NATS %s, %s, answers in %s", i.Version, name, span(i.RTT)); {
	case older(i.Version, leastNATS):
		d.note("nats", fails, "upgrade it", "%s: the engine needs %d.%d or later", text, leastNATS[0], leastNATS[1])
	case i.MaxPayload < natslog.MinPayload:
		d.note("nats", fails, "raise max_payload in its configuration", "%s: it takes messages of at most %d bytes, and the engine needs %d", text, i.MaxPayload, natslog.MinPayload)
	case i.RTT > slowRTT:
		d.note("nats", warns, "run engines near it", "%s: every commit waits for that", text)
	default:
		d.ok("nats", "%s", text)
	}
	d.account()
	switch err := i.Log; {
	case err == nil:
		return true
	case errors.Is(err, natslog.ErrNoLog):
		d.note("log", fails, "start an engine on it: "+d.start(), "%v", err)
	default:
		d.note("log", fails, "", "%v", err)
	}
	return false
}

// account looks at the limits of the account.
func (d *doctor) account() {
	info := d.nats.Account
	tier := info.Tier
	for _, t := range info.Tiers {
		tier = t // the streams of a log have the same number of replicas
	}
	used, limit := tier.Store, tier.Limits.MaxStore // #nosec G115 -- bytes
	if limit <= 0 {
		d.ok("account", "%s in %s, without a limit of its own", size(int64(used)), plural(tier.Streams, "stream", "streams")) // #nosec G115 -- bytes
		return
	}
	share := float64(used) / float64(limit)
	text := fmt.Sprintf("%s of %s stored (%.0f %%)", size(int64(used)), size(limit), 100*share) // #nosec G115 -- bytes
	const room = "raise the account's limit, or tasker prune --older-than 24h"
	switch {
	case share >= storeFails:
		d.note("account", fails, room, "%s: submissions are refused", text)
	case share >= storeWarns:
		d.note("account", warns, room, "%s: the history of ended tasks is given up early", text)
	default:
		d.ok("account", "%s", text)
	}
}

// streams looks at what the log is made of; false when it is not whole, so that a look through an engine would mend it.
func (d *doctor) streams() bool {
	before := len(d.findings)
	replicas, data := 0, uint64(0)
	for _, r := range d.nats.Streams {
		data += r.Bytes
		if r.Partition >= 0 {
			replicas = r.Replicas
		}
		switch {
		case r.Missing && r.Vital:
			d.note("streams", fails, "restore it from a backup: docs/operating.md", "%v", &domain.StreamMissingError{Stream: r.Name, DataID: d.nats.Data.ID})
		case r.Missing && !r.Fleeting:
			d.note("streams", warns, "start an engine", "stream %s is missing; the next engine that starts makes it again, empty", r.Name)
		case r.Problem != nil:
			d.note("streams", fails, "", "%v", r.Problem)
		case r.Partition >= 0 && r.Removed > 0:
			d.note("streams", fails, "restore it from a backup: docs/operating.md", "stream %s lacks %s between %d and %d: the partition cannot be loaded",
				r.Name, plural(r.Removed, "message", "messages"), r.First, r.Last)
		case r.Replicas > 1 && r.Leader == "":
			d.note("streams", fails, "bring the other servers of the cluster back", "stream %s has no leader: nothing can be stored in it", r.Name)
		case len(r.ReplicasBehind) > 0:
			d.note("streams", warns, "bring them back, or wait until they have caught up", "stream %s: %s of %d replicas behind or away: %s",
				r.Name, strconv.Itoa(len(r.ReplicasBehind)), r.Replicas, strings.Join(r.ReplicasBehind, ", "))
		}
	}
	if len(d.findings) == before {
		d.ok("streams", "%s, R%d, %s, with the settings that the engine needs", plural(len(d.nats.Streams), "stream", "streams"), replicas, size(int64(data))) // #nosec G115 -- bytes
		return true
	}
	for _, f := range d.findings[before:] {
		if f.Status == fails {
			return false
		}
	}
	return true
}

// older compares the first two numbers of a version.
func older(version string, than [2]int) bool {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	for i, want := range than {
		if i >= len(parts) {
			return false
		}
		have, err := strconv.Atoi(parts[i])
		if err != nil || have > want {
			return false
		}
		if have < want {
			return true
		}
	}
	return false
}
