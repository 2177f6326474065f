package subscribers

// LeaseName is the name of the lease that the owner of a partition holds. Whoever fills a log before an engine opens it
// (tasker.Import) holds it meanwhile.
func LeaseName(partition int) string { return leaseName(partition) }
