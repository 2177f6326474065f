package httphandler

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// DefaultMinVersion is the oldest version of TLS that a server may speak when min_version is left out.
const DefaultMinVersion = "1.2"

// maxTLSFile is the most that a file with certificates or a key may have, in bytes.
const maxTLSFile = 1 << 20

var tlsVersions = map[string]uint16{
	"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13,
}

// tlsConfig is what handler_config says of TLS.
type tlsConfig struct {
	CAFile     string  `json:"ca_file"`
	CertFile   string  `json:"cert_file"`
	KeyFile    string  `json:"key_file"`
	ServerName string  `json:"server_name"`
	MinVersion version `json:"min_version"`
	Insecure   bool    `json:"insecure_skip_verify"`
}

// version is a version of TLS; YAML makes a number of 1.3.
type version string

// UnmarshalJSON reads either form. null leaves the value as it is.
func (v *version) UnmarshalJSON(b []byte) error {
	if text := strings.Trim(string(b), `"`); text != "null" {
		*v = version(text)
	}
	return nil
}

func parseTLS(raw json.RawMessage, p *problems) tlsConfig {
	c := tlsConfig{MinVersion: DefaultMinVersion}
	if err := handlerconfig.DecodeAt("handler_config.tls", raw, &c); err != nil {
		p.list = append(p.list, err)
		return c
	}
	if _, ok := tlsVersions[string(c.MinVersion)]; !ok {
		p.report("tls.min_version: TLS has no version %q: write %s", string(c.MinVersion),
			strings.Join(slices.Sorted(maps.Keys(tlsVersions)), ", "))
	}
	switch {
	case c.CertFile != "" && c.KeyFile == "":
		p.report("tls.key_file is missing: cert_file needs the key of the certificate")
	case c.CertFile == "" && c.KeyFile != "":
		p.report("tls.cert_file is missing: key_file needs its certificate")
	}
	if c.Insecure && c.CAFile != "" {
		p.report("tls.ca_file has no meaning when insecure_skip_verify trusts every certificate: keep one of them")
	}
	if strings.ContainsAny(c.ServerName, "/: ") {
		p.report("tls.server_name: %q is not the name of a host: write it like shop.example, without scheme and port", c.ServerName)
	}
	for _, of := range []struct{ key, value string }{
		{"ca_file", c.CAFile}, {"cert_file", c.CertFile}, {"key_file", c.KeyFile}, {"server_name", c.ServerName},
	} {
		if strings.Contains(of.value, "${") {
			p.report("tls.%s cannot hold ${...}: write the text itself", of.key)
		}
	}
	return c
}

// tlsFiles are what stands in the files.
type tlsFiles struct{ ca, cert, key string }

func (c *tlsConfig) read() (tlsFiles, error) {
	var f tlsFiles
	var problems []error
	for _, file := range []struct {
		path string
		into *string
	}{{c.CAFile, &f.ca}, {c.CertFile, &f.cert}, {c.KeyFile, &f.key}} {
		if file.path == "" {
			continue
		}
		text, err := readTLSFile(file.path)
		problems = append(problems, err)
		*file.into = text
	}
	return f, errors.Join(problems...)
}

// readTLSFile reads a regular file. A pipe would never end.
func readTLSFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxTLSFile {
		return "", fmt.Errorf("%s is not a file of at most %d bytes", path, maxTLSFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTLSFile))
	if err == nil && len(text) == 0 {
		err = fmt.Errorf("%s is empty", path)
	}
	return string(text), err
}

// client is the configuration of connections.
func (s settings) client() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tlsVersions[string(s.minVersion)], ServerName: s.serverName,
		InsecureSkipVerify: s.insecure, // #nosec G402 -- whoever wrote the definition says so
	}
	if s.files.ca != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(s.files.ca)) {
			return nil, tlsFailed(errors.New("ca_file holds no PEM certificate"))
		}
	}
	if s.files.cert != "" || s.files.key != "" {
		pair, err := tls.X509KeyPair([]byte(s.files.cert), []byte(s.files.key))
		if err != nil {
			return nil, tlsFailed(fmt.Errorf("cert_file and key_file: %w", err))
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// tlsFailed is retried: files that are being replaced do not fit for a moment.
func tlsFailed(err error) error {
	return &domain.Failure{Err: fmt.Errorf("tls: %w", err), Code: "TLS_FILE"}
}
