// Package rooms holds the test that keeps the packages in their rooms: who may
// import whom, and which third parties may be used where. It has no code.
package rooms
