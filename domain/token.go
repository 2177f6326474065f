package domain

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scope is what the holder of a token may do.
type Scope string

// The scopes. What contains what is said by Scope.Expand.
const (
	ScopeRead    Scope = "read"    // look at everything, with contexts, results and errors
	ScopeSubmit  Scope = "submit"  // create tasks
	ScopeOperate Scope = "operate" // act on tasks, steps and dead letters
	ScopeAdmin   Scope = "admin"   // definitions, subscribers, tokens, what is lost for good
)

// Scopes lists all of them.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeSubmit, ScopeOperate, ScopeAdmin} }

// ExpandScopes adds what the given scopes contain: admin all, operate read, since nobody should act on what he cannot see.
// Neither submit nor operate contains the other, and submit does not read: a shop that hands orders in need not see them all.
func ExpandScopes(given []Scope) []Scope {
	var all []Scope
	for _, s := range Scopes() {
		has := slices.Contains(given, s) || slices.Contains(given, ScopeAdmin) || s == ScopeRead && slices.Contains(given, ScopeOperate)
		if has {
			all = append(all, s)
		}
	}
	return all
}

// ParseScope reads one of the words.
func ParseScope(text string) (Scope, error) {
	if s := Scope(text); slices.Contains(Scopes(), s) {
		return s, nil
	}
	return "", fmt.Errorf("%q is no scope: want read, submit, operate or admin", text)
}

// Limits of tokens.
const (
	MaxTokenName       = 64 // bytes
	MaxTokenNamespaces = 64
	// TokenSecretBytes of randomness stand in a token. So many cannot be guessed, which is why one round of SHA-256 is kept of
	// it and not a slow hash such as bcrypt: those make up for secrets that people choose, at the price of tenths of a second
	// of a processor for every wrong token that anybody sends.
	TokenSecretBytes = 32

	tokenPrefix    = "tsk_"
	maxTokenRecord = 16 << 10 // bytes of JSON
	maxTokenActor  = 256      // bytes
)

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// tokenSecretChars are the letters and digits that spell a secret.
const tokenSecretChars = (TokenSecretBytes*8 + 4) / 5

// Token is what is kept of an access token: who holds it and what it is good for, never its secret.
type Token struct {
	Name       string     `json:"name"`
	Scopes     []Scope    `json:"scopes"`               // as they were given; see ExpandScopes
	Namespaces []string   `json:"namespaces,omitempty"` // empty: all
	Created    time.Time  `json:"created"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Expires    *time.Time `json:"expires,omitempty"` // nil: never
	Revoked    *time.Time `json:"revoked,omitempty"` // nil: it is not
	RevokedBy  string     `json:"revoked_by,omitempty"`
	// Hash is "sha256-<hex>" of the secret.
	Hash string `json:"hash"`
}

// CheckTokenName refuses what cannot be part of a token: 1 to 64 letters, digits, "-", "_", ".", a letter or digit first.
func CheckTokenName(name string) error {
	plain := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	ok := name != "" && len(name) <= MaxTokenName && plain(name[0])
	for i := 0; ok && i < len(name); i++ {
		ok = plain(name[i]) || name[i] == '-' || name[i] == '_' || name[i] == '.'
	}
	if !ok {
		return fmt.Errorf("%.80q cannot be a token's name: want 1 to %d letters, digits, -, _ and ., a letter or digit first", name, MaxTokenName)
	}
	return nil
}

// Check refuses a token that says nothing or too much.
func (t *Token) Check() error {
	if err := CheckTokenName(t.Name); err != nil {
		return err
	}
	if len(t.Scopes) == 0 {
		return errors.New("a token needs at least one scope: read, submit, operate or admin")
	}
	for _, s := range t.Scopes {
		if _, err := ParseScope(string(s)); err != nil {
			return err
		}
	}
	if len(t.Namespaces) > MaxTokenNamespaces {
		return fmt.Errorf("%d namespaces: a token is limited to at most %d of them, or to none", len(t.Namespaces), MaxTokenNamespaces)
	}
	if n := max(len(t.CreatedBy), len(t.RevokedBy)); n > maxTokenActor {
		return fmt.Errorf("the name of who makes or revokes the token has %d bytes; it may have %d", n, maxTokenActor)
	}
	for _, n := range t.Namespaces {
		if n == "" || len(n) > 128 {
			return fmt.Errorf("%.140q is no namespace", n)
		}
	}
	return nil
}

// Live reports whether the token may be used at the time.
func (t *Token) Live(at time.Time) bool {
	return t.Revoked == nil && (t.Expires == nil || at.Before(*t.Expires))
}

// SetSecret makes random, which must be TokenSecretBytes from a secure source, the token's secret, and returns the text that
// its holder presents: tsk_<name>_<secret>. The text is nowhere else.
func (t *Token) SetSecret(random []byte) string {
	secret := tokenEncoding.EncodeToString(random)
	t.Hash = hashSecret(secret)
	return tokenPrefix + t.Name + "_" + secret
}

// Matches reports whether the secret is the token's. It takes the same time for every wrong one.
func (t *Token) Matches(secret string) bool {
	return t.Hash != "" && subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(t.Hash)) == 1
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// SplitToken takes the text of a token apart; ok is false for what no token looks like.
func SplitToken(text string) (name, secret string, ok bool) {
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	i := strings.LastIndexByte(rest, '_')
	if !ok || i < 0 || len(rest) > MaxTokenName+1+tokenSecretChars {
		return "", "", false
	}
	name, secret = rest[:i], rest[i+1:]
	return name, secret, CheckTokenName(name) == nil && len(secret) == tokenSecretChars
}

// ReadToken decodes the record of a token that is stored under a name. What is not exactly a token's record is an error:
// whoever may read streams can have the server write other messages into a bucket.
func ReadToken(name string, record []byte) (Token, error) {
	var t Token
	wrong := func(why string) (Token, error) {
		return Token{}, fmt.Errorf("what is stored as token %q is none: %s; revoke it and create a new one", name, why)
	}
	if len(record) > maxTokenRecord {
		return wrong("it is too large")
	}
	d := json.NewDecoder(strings.NewReader(string(record)))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return wrong(err.Error())
	}
	if d.More() {
		return wrong("something follows it")
	}
	if t.Name != name {
		return wrong("it is another's")
	}
	if len(t.Hash) != len("sha256-")+2*sha256.Size {
		return wrong("it has no hash")
	}
	if err := t.Check(); err != nil {
		return wrong(err.Error())
	}
	return t, nil
}
