// Package auth says who calls the HTTP API: by an access token of the log (Tokens), by a token that an OpenID Connect provider
// signed (OIDC), or either of both (Either). Each is a httpapi.Authenticator. docs/auth.md is the manual.
package auth
