// Package browsertest drives the pages of package web in a headless Chromium. It is a module of
// its own, so that nobody else needs a browser's protocol.
package browsertest
