package domain

import (
	"fmt"
	"time"
)

// DefaultIdentityWindow is the window of identity strategy hash: Tasker's minute.
const DefaultIdentityWindow = time.Minute

// minIdentityWindow: instants have microseconds, and nobody submits twice within less.
const minIdentityWindow = time.Millisecond

// IdentityStrategy says what makes two submissions without an idempotency key the same task (SEMANTICS 8).
type IdentityStrategy string

// The strategies.
const (
	IdentityDefault IdentityStrategy = "default" // nothing: every submission is a task of its own
	IdentityHash    IdentityStrategy = "hash"    // the same content within the same window; see IdentityKey
	IdentityCustom  IdentityStrategy = "custom"  // what a Go function says; no file can hold one
)

// Identity is how submissions of a definition that have no idempotency key get one.
type Identity struct {
	Strategy IdentityStrategy // default IdentityDefault
	Window   time.Duration    // of IdentityHash: default 1 min, at least 1 ms; 0 for the others
}

func (i *Identity) setDefaults() {
	orDefault(&i.Strategy, IdentityDefault)
	if i.Strategy == IdentityHash {
		orDefault(&i.Window, DefaultIdentityWindow)
	}
}

func (i *Identity) check(p *problems) {
	switch i.Strategy {
	case IdentityHash:
		if i.Window < minIdentityWindow {
			p.addf("identity.window", "leave it out for 1m", "window must be at least %s, got %s", minIdentityWindow, i.Window)
		}
	case IdentityDefault, IdentityCustom:
		if i.Window != 0 {
			p.add("identity.window", fmt.Sprintf("identity strategy %q has no window", i.Strategy), "only hash has one")
		}
	default:
		known := []string{string(IdentityDefault), string(IdentityHash)}
		p.add("identity.strategy", fmt.Sprintf("unknown identity strategy %q", clip(string(i.Strategy))), oneOf(string(i.Strategy), known, p))
	}
}

type bodyIdentity struct {
	Strategy IdentityStrategy `json:"strategy"`
	Window   string           `json:"window"`
}

// body is nil for the default, the strategy when that says everything, and an object otherwise.
func (i *Identity) body() any {
	switch {
	case i.Strategy == IdentityDefault:
		return nil
	case i.Strategy == IdentityHash && i.Window != DefaultIdentityWindow:
		return bodyIdentity{i.Strategy, i.Window.String()}
	}
	return i.Strategy
}

// identity reads the name of a strategy, or an object.
func (r definitionReader) identity(n *jsonNode, at string, i *Identity) {
	switch n.kind {
	case jsonString:
		i.Strategy = IdentityStrategy(n.text)
	case jsonObject:
		r.object(n, at, " in the identity", identityKeys, nil, func(key string, v *jsonNode, at string) {
			switch key {
			case "strategy":
				r.text(v, at, key, (*string)(&i.Strategy))
			case "window":
				i.Window = r.duration(v, at, key, aboveZero)
			}
		})
	case jsonNull, jsonBool, jsonNumber, jsonArray:
		r.read(at, "identity must be a string or an object, not "+n.kind.String(), "write it like identity: {strategy: hash, window: 1m}")
	}
}
