package main

import (
	"fmt"
	"slices"
)

// median returns the middle of the values, or the mean of the two in the middle.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// summary writes the median, and where there are several the least and the most.
func summary(format string, v []float64) string {
	if len(v) < 2 {
		return fmt.Sprintf(format, median(v))
	}
	return fmt.Sprintf(format+" ["+format+", "+format+"]", median(v), slices.Min(v), slices.Max(v))
}

// each is f of all of them.
func each[T any](all []T, f func(T) float64) []float64 {
	v := make([]float64, len(all))
	for i := range all {
		v[i] = f(all[i])
	}
	return v
}

// ratios are those of f in each round: what changed on the machine between two
// rounds is not in them.
func ratios[T any](mine, other []T, f func(T) float64) []float64 {
	v := make([]float64, len(mine))
	for i := range mine {
		v[i] = f(mine[i]) / f(other[i])
	}
	return v
}
