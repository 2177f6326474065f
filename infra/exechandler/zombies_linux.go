package exechandler

import (
	"bytes"
	"os"
	"strconv"
)

// onlyZombies: every process of the group is dead and waits for its parent, which in a container may be an init that
// takes its time, or never does. When /proc does not tell, they count as alive.
func onlyZombies(group int) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	found := false
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // gone
		}
		// "17 (name, which may hold anything) S 1 17 ...": the state, the parent and the group come after the name.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 3 || string(fields[2]) != strconv.Itoa(group) {
			continue
		}
		if state := fields[0][0]; state != 'Z' && state != 'X' {
			return false
		}
		found = true
	}
	return found
}
