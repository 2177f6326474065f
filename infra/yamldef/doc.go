// Package yamldef reads definitions from YAML 1.2 and JSON files.
//
// It owns no rule about definitions: it turns a file into the JSON form, hands that to domain.ParseDefinition, and
// turns the paths of the problems back into lines and columns. So a definition means the same in Go, YAML and JSON, and
// a mistake is shown where it was made.
package yamldef
