// Package natslog keeps everything the engine keeps on NATS JetStream: it implements domain.Store.
//
// Each partition's log is a stream of its own with a connection of its own. A commit is one message, appended with the
// sequence that it must follow (Log.Append, log.go); everything that reads history goes through the one reader in
// reader.go. What exists is decided once, in META (meta.go); how the streams are set up stands in layout.go. Any NATS
// client can read all of it.
//
//	TASKER_LOG_<generation>_<partition>   tasker.log.<generation>.<partition>   the commits
//	TASKER_DEAD                           tasker.dead.<kind>.<name>             what could not be delivered, with the reason
//	KV TASKER_META, TASKER_LEASES, TASKER_DEFINITIONS, TASKER_CURSORS, TASKER_TOKENS
//	object stores TASKER_BLOBS, TASKER_SNAPSHOTS
//	(core NATS)                           tasker.cmd.<partition>                requests to the partition's owner
package natslog
