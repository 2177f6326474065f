package httpapi

import (
	"errors"
	"net/http"
	"slices"
)

// Scope is what a caller may do. No scope contains another: a token that submits and looks has both.
type Scope string

// The scopes.
const (
	ScopeRead    Scope = "read"    // look at everything, with contexts, results and errors
	ScopeSubmit  Scope = "submit"  // create tasks
	ScopeOperate Scope = "operate" // act on tasks, steps and dead letters
	ScopeAdmin   Scope = "admin"   // definitions, subscribers, what is lost for good
)

// Scopes lists all of them.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeSubmit, ScopeOperate, ScopeAdmin} }

// AuthKind is how a caller has said who it is.
type AuthKind string

// The kinds.
const (
	AuthOff   AuthKind = "off" // nobody is asked, everybody may do everything
	AuthToken AuthKind = "token"
	AuthOIDC  AuthKind = "oidc"
)

// Identity is who calls, and what it may do.
type Identity struct {
	Name   string // the actor of what it does; at most 256 bytes, not empty
	Scopes []Scope
	// Namespaces are those that it may see and touch. Empty: all of them, and what belongs to none.
	Namespaces []string
	Kind       AuthKind
}

// May reports whether the identity has the scope.
func (i *Identity) May(s Scope) bool { return slices.Contains(i.Scopes, s) }

// Sees reports whether the identity may see the namespace.
func (i *Identity) Sees(namespace string) bool {
	return len(i.Namespaces) == 0 || slices.Contains(i.Namespaces, namespace)
}

// ErrUnauthorized is for an Authenticator to wrap: nobody is known by what the request carries. The caller gets 401 with
// the text, so it must not tell secrets. Every other error is 503: the Authenticator itself cannot answer now.
var ErrUnauthorized = errors.New("not authenticated")

// Authenticator says who sent a request. It is called once for every request to /api, from many goroutines; it must neither
// read the body nor keep the request. The error of a request without or with wrong credentials wraps ErrUnauthorized.
type Authenticator interface {
	Authenticate(r *http.Request) (Identity, error)
}
