package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// contentPolicy lets the UI load what this server has, and nothing else; the component library sets styles in elements.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// secure sets the headers that every answer has.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}

// guard refuses what another origin's page may not ask, before anything else is looked at.
type guard struct {
	hosts   []string // nil: any
	origins []string
	cross   *http.CrossOriginProtection
}

func newGuard(o *Options) *guard {
	g := &guard{origins: o.CORS, cross: http.NewCrossOriginProtection()}
	if o.Auth == nil {
		g.hosts = append([]string{"localhost"}, o.Hosts...)
	}
	for _, origin := range o.CORS {
		_ = g.cross.AddTrustedOrigin(origin) // Options.defaults has looked at it
	}
	return g
}

// check is nil when the request may go on.
func (g *guard) check(r *http.Request) *Problem {
	if g.hosts != nil && !g.known(r.Host) {
		return newProblem(http.StatusMisdirectedRequest, CodeHost,
			"without authentication only requests for localhost and loopback addresses are answered, not for "+r.Host,
			"use http://127.0.0.1 or http://localhost, or switch authentication on")
	}
	if !isAPI(r.URL.Path) {
		return nil
	}
	if g.allowed(r.Header.Get("Origin")) {
		return nil
	}
	refuse := func(detail string) *Problem {
		return newProblem(http.StatusForbidden, CodeCrossOrigin, detail, "use the UI of this server, or name the origin with --http-cors (Options.CORS)")
	}
	if err := g.cross.Check(r); err != nil {
		return refuse("a page of another origin may not change anything here")
	}
	switch r.Header.Get("Sec-Fetch-Site") { // reading costs, too, though the page would not see the answer
	case "cross-site", "same-site":
		return refuse("a page of another origin may not use the API")
	}
	return nil
}

func (g *guard) known(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(g.hosts, func(known string) bool { return strings.EqualFold(known, strings.TrimSuffix(host, ".")) })
}

func (g *guard) allowed(origin string) bool {
	return origin != "" && slices.Contains(g.origins, origin)
}

// The headers that pages of other origins may send and see.
const (
	corsSend = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, " + headerActor + ", " + headerRequest
	corsSee  = "Location, Retry-After"
)

// cors answers a preflight request; true when that was all.
func (g *guard) cors(w http.ResponseWriter, r *http.Request) bool {
	if len(g.origins) == 0 || !isAPI(r.URL.Path) {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !g.allowed(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", corsSee)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
	h.Set("Access-Control-Allow-Headers", corsSend)
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

func isAPI(path string) bool { return path == "/api" || strings.HasPrefix(path, "/api/") }

// Headers of our own.
const (
	headerActor   = "Tasker-Actor"   // who acts, when nobody is asked who calls
	headerRequest = "Tasker-Request" // any value: a page of another origin cannot set it unasked
)
