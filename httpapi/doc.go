// Package httpapi serves an engine over HTTP: what the command line can do, events as they happen, and the web UI. It stands
// above the face: whoever embeds an engine mounts the handler of New where it likes, and package tasker knows nothing of
// HTTP (docs/adr/0013-http-above-the-face.md). docs/http-api.md is the manual; openapi.json, which is served as well,
// describes every operation.
package httpapi
