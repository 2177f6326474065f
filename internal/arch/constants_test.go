package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// eventLiterals: an event's name is a typed constant of the domain. A copy of it elsewhere is not found when one looks
// for who appends the event and who reacts.
func (m *tree) eventLiterals() []string {
	events := map[string]string{} // wire name to constant
	m.constants(func(typ, name string, value ast.Expr) {
		if s, ok := stringOf(value); ok && typ == "EventType" {
			events[s] = name
		}
	})
	var broken []string
	for file, f := range m.src {
		if strings.HasPrefix(file, "domain/") {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if _, ok := n.(*ast.ImportSpec); ok {
				return false
			}
			lit, ok := n.(*ast.BasicLit)
			if !ok {
				return true
			}
			if s, ok := stringOf(lit); ok && events[s] != "" {
				broken = append(broken, fmt.Sprintf("%s: %s is domain.%s", m.at(lit.Pos()), lit.Value, events[s]))
			}
			return true
		})
	}
	slices.Sort(broken)
	return broken
}

// coordinatorStates: the coordinator dispatches by what subscribers declare. A rule about a state of a task or a step
// belongs into the domain or into a reactor.
func (m *tree) coordinatorStates() []string {
	states := map[string]bool{}
	m.constants(func(typ, name string, _ ast.Expr) {
		if strings.HasSuffix(typ, "State") {
			states[name] = true
		}
	})
	var broken []string
	for file := range m.src {
		if path.Dir(file) != "subscribers" {
			continue
		}
		m.selectors(file, func(pos token.Pos, importPath, name string) {
			if importPath == module+"/domain" && states[name] {
				broken = append(broken, fmt.Sprintf("%s: domain.%s: the coordinator holds no rule about tasks or steps", m.at(pos), name))
			}
		})
	}
	slices.Sort(broken)
	return broken
}

// constants calls visit for every constant of package domain with its type, also where the type is repeated from the
// line above, as after iota, or is a conversion.
func (m *tree) constants(visit func(typ, name string, value ast.Expr)) {
	for file, f := range m.src {
		if path.Dir(file) != "domain" {
			continue
		}
		for _, d := range f.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.CONST {
				continue
			}
			var typ string
			for _, s := range gen.Specs {
				spec := s.(*ast.ValueSpec)
				if spec.Type != nil || len(spec.Values) > 0 {
					typ = typeOf(spec)
				}
				for i, name := range spec.Names {
					var value ast.Expr
					if i < len(spec.Values) {
						value = spec.Values[i]
					}
					visit(typ, name.Name, value)
				}
			}
		}
	}
}

func typeOf(spec *ast.ValueSpec) string {
	if id, ok := spec.Type.(*ast.Ident); ok {
		return id.Name
	}
	if len(spec.Values) > 0 {
		if call, ok := spec.Values[0].(*ast.CallExpr); ok {
			if id, ok := call.Fun.(*ast.Ident); ok {
				return id.Name
			}
		}
	}
	return ""
}

// stringOf is the value of a string literal, also inside a conversion.
func stringOf(e ast.Expr) (string, bool) {
	if call, ok := e.(*ast.CallExpr); ok && len(call.Args) == 1 {
		e = call.Args[0]
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}
