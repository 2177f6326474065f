// Package check holds no code: its tests check docker-compose.yml, the Dockerfile and everything in deploy/ as far as a
// machine without containers can. make deploy-check runs them.
package check
