// Package packages holds the tests of the packages that scripts/packages.sh builds. They have
// the build tag "packages", because they need root and a network, and take minutes: make
// test-packages runs them.
package packages
