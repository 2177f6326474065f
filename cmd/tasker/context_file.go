package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

// The variables about contexts.
const (
	envContext   = "TASKER_CONTEXT"    // the context of verbs that are told nothing else
	envConfigDir = "TASKER_CONFIG_DIR" // where contexts.json is, instead of the user's configuration folder
)

const (
	contextsFormat   = 1
	maxContextName   = 64
	maxContextsBytes = 1 << 20
)

// savedContext is where a log is, under a name: the URL of a NATS with what it takes to log in, or a data directory. There is no
// password in it: a file has that.
type savedContext struct {
	URL          string `json:"url,omitempty"`
	Data         string `json:"data,omitempty"` // absolute
	User         string `json:"user,omitempty"`
	PasswordFile string `json:"password_file,omitempty"`
	Creds        string `json:"creds,omitempty"`
	NKey         string `json:"nkey,omitempty"`
	CA           string `json:"ca,omitempty"`
	Cert         string `json:"cert,omitempty"`
	Key          string `json:"key,omitempty"`
	Inbox        string `json:"inbox,omitempty"`
}

func (p *savedContext) access() natsAccess {
	return natsAccess{
		user: p.User, passwordFile: p.PasswordFile, creds: p.Creds, nkey: p.NKey, ca: p.CA, cert: p.Cert, key: p.Key, inbox: p.Inbox,
	}
}

// shown is it without what lets others in: a token can be part of a URL.
func (p savedContext) shown() savedContext {
	p.URL = redactURLs(p.URL)
	return p
}

// redactURLs takes users, passwords and tokens out of URLs with commas between them.
func redactURLs(text string) string {
	urls := strings.Split(text, ",")
	for i, one := range urls {
		if u, err := url.Parse(one); err == nil && u.User != nil {
			u.User = url.User("xxxxx")
			urls[i] = u.String()
		}
	}
	return strings.Join(urls, ",")
}

// contextFile is contexts.json.
type contextFile struct {
	Version  int                     `json:"version"`
	Current  string                  `json:"current,omitempty"`
	Contexts map[string]savedContext `json:"contexts"`

	path string
}

// contextsPath is "" when there is no folder for configurations, as for users without a home.
func contextsPath() string {
	if dir := os.Getenv(envConfigDir); dir != "" {
		return filepath.Join(dir, "contexts.json")
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "tasker", "contexts.json")
}

// loadContexts reads the file; without one there are no contexts.
func loadContexts() (*contextFile, error) {
	f := &contextFile{Version: contextsFormat, Contexts: map[string]savedContext{}, path: contextsPath()}
	if f.path == "" {
		return f, nil
	}
	text, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err != nil && notBelowFolder(f.path):
		return f, nil
	case err == nil && len(text) > maxContextsBytes:
		err = fmt.Errorf("it has %d bytes", len(text))
	case err == nil:
		err = f.decode(text)
	}
	if err != nil {
		return nil, badInput(fmt.Errorf("the contexts in %s cannot be read: %w", f.path, err), "mend the file, or remove it")
	}
	if f.Contexts == nil {
		f.Contexts = map[string]savedContext{}
	}
	return f, nil
}

func (f *contextFile) decode(text []byte) error {
	var format struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &format); err != nil {
		return err
	}
	if format.Version > contextsFormat {
		return fmt.Errorf("it has format %d, and this version of tasker reads up to %d", format.Version, contextsFormat)
	}
	return json.Unmarshal(text, f)
}

// notBelowFolder reports whether what should be the folder of the file is none, such as /dev/null for users without a home.
func notBelowFolder(path string) bool {
	info, err := os.Stat(filepath.Dir(path))
	return err != nil || !info.IsDir()
}

// save writes the file, whole or not at all, for this user only.
func (f *contextFile) save() error {
	if f.path == "" {
		return badInput(errors.New("this user has no folder for configurations"), "name one with "+envConfigDir)
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return badInput(fmt.Errorf("contexts cannot be kept: %w", err), "name another folder with "+envConfigDir)
	}
	temporary, err := os.CreateTemp(filepath.Dir(f.path), ".contexts-*") // mode 0600
	if err != nil {
		return badInput(fmt.Errorf("contexts cannot be kept: %w", err), "name another folder with "+envConfigDir)
	}
	_, err = temporary.Write(append(text, '\n'))
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), f.path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return fmt.Errorf("contexts cannot be kept: %w", err)
	}
	return nil
}

// checkContextName refuses what is no name in a file of names: letters, digits, "-", "_" and ".", a letter or digit first.
func checkContextName(name string) error {
	ok := name != "" && len(name) <= maxContextName
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && (c == '-' || c == '_' || c == '.')
	}
	if !ok {
		return usageError("%.80q cannot be the name of a context: want 1 to %d letters, digits, -, _ and ., a letter or digit first", name, maxContextName)
	}
	return nil
}

// resolve finds out what the flags mean: --url, --context and --data count before TASKER_CONTEXT, and that before the context
// in use. changed says which flags were given. A context that is not tasker's own stays one of the nats command line.
func (f *connectFlags) resolve(changed func(string) bool) error {
	if changed("url") && changed("context") {
		return usageError("either --url or --context")
	}
	named, from := f.context, "--context"
	if named == "" && (f.named || changed("url") || changed("data")) {
		return nil
	}
	if named == "" {
		named, from = os.Getenv(envContext), envContext
	}
	contexts, err := loadContexts()
	if err != nil {
		return err
	}
	current := named == ""
	if current {
		named = contexts.Current
	}
	p, own := contexts.Contexts[named]
	switch {
	case named == "":
		return nil
	case own:
		f.context, f.url, f.access = "", p.URL, p.access()
		if p.Data != "" {
			f.data = p.Data
		}
	case current:
		return badInput(fmt.Errorf("the context in use, %q, is not there any more", named), "tasker context use NAME, or tasker context use -")
	default:
		f.context = named
		if !natsContextExists(named) {
			return badInput(fmt.Errorf("%s is %q: there is no such context, neither of tasker nor of the nats command line", from, named),
				"tasker context list shows tasker's; tasker context add makes one")
		}
	}
	return nil
}

// natsContextExists looks where the nats command line keeps its contexts.
func natsContextExists(name string) bool {
	if filepath.IsAbs(name) {
		_, err := os.Stat(name)
		return err == nil
	}
	if strings.ContainsAny(name, `/\`) {
		return false
	}
	parent := os.Getenv("XDG_CONFIG_HOME")
	if parent == "" {
		u, err := user.Current()
		if err != nil {
			return true // it will say itself what is wrong
		}
		parent = filepath.Join(u.HomeDir, ".config")
	}
	_, err := os.Stat(filepath.Join(parent, "nats", "context", name+".json"))
	return err == nil
}
