// Package yamldef reads definitions from YAML 1.2 and JSON files, those of Tasker included.
//
// It owns no rule about definitions. A file becomes a tree that knows the place of every value; Tasker's keys get our
// names in it, and the changes of the chosen environment are merged in; then the tree goes to domain.InspectDefinition as
// JSON, and the paths of the problems become lines and columns again. So a definition means the same in Go, YAML and JSON,
// and a mistake is shown where it was made, in the words of the file.
package yamldef
