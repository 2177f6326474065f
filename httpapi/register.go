package httpapi

// register adds all operations.
func (s *server) register() {
	s.registerTasks()
	s.registerFind()
	s.registerVerbs()
	s.registerSteps()
	s.registerDefinitions()
	s.registerEvents()
	s.registerLetters()
	s.registerSystem()
}
