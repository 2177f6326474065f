package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

// ui serves the files of the web UI, which are few and do not change: each with its digest. A path that is no file and has
// no extension is a view of the UI, which index.html shows.
type ui struct {
	files map[string]*asset // by path, without the first slash
}

type asset struct {
	text        []byte
	contentType string
	etag        string
	forever     bool // its name changes with its content
}

const indexPage = "index.html"

// newUI reads the files; nil files are no UI.
func newUI(files fs.FS) (*ui, error) {
	u := &ui{files: map[string]*asset{}}
	if files == nil {
		return u, nil
	}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		a := &asset{text: text, etag: `"` + hex.EncodeToString(sum[:12]) + `"`, forever: strings.HasPrefix(name, "assets/")}
		if a.contentType = mime.TypeByExtension(path.Ext(name)); a.contentType == "" {
			a.contentType = "application/octet-stream"
		}
		u.files[name] = a
		return nil
	})
	if err == nil && u.files[indexPage] == nil {
		err = errors.New("there is no index.html in it")
	}
	if err != nil {
		return nil, fmt.Errorf("httpapi: Options.UI: %w", err)
	}
	return u, nil
}

func (u *ui) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(u.files) == 0 {
		notFound(r, "this server has no web UI", "the API is under /api/v1, its description is /openapi.json").write(w, r)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	a := u.files[name]
	if a == nil && path.Ext(name) == "" {
		a = u.files[indexPage]
	}
	if a == nil {
		notFound(r, "there is no such file", "the UI begins at /").write(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		methodNotAllowed(r, "GET, HEAD").write(w, r)
		return
	}
	h := w.Header()
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache")
	if a.forever {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if sameTag(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.contentType)
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, strings.NewReader(string(a.text))) // nobody is there to be told
	}
}

// sameTag compares weakly: a compressed answer has the tag with W/ before it.
func sameTag(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == tag || part == "*" {
			return true
		}
	}
	return false
}

func notFound(r *http.Request, detail, hint string) *Problem {
	return newProblem(http.StatusNotFound, CodeNotFound, r.Method+" "+shown(r.URL.Path).(string)+": "+detail, hint)
}

func methodNotAllowed(r *http.Request, allow string) *Problem {
	p := newProblem(http.StatusMethodNotAllowed, CodeMethod, r.Method+" is not possible for "+shown(r.URL.Path).(string), "possible: "+allow)
	p.header = http.Header{"Allow": {allow}}
	return p
}
