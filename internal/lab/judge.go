package lab

import (
	"slices"

	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// Judge compares the emulator's result with that of the kernel (or the model,
// which stands in for it). A difference that docs/semantics.md lists has its
// number in Listed. One that is listed and did not happen is a difference, too.
func Judge(s *scenario.Scenario, ref, emulator *scenario.Result) []scenario.Difference {
	c := newCourse(s, ref)
	expected := &scenario.Result{Way: ref.Way, Version: ref.Version}
	for _, o := range ref.Outcomes {
		o.Gets, o.Counts = slices.Clone(o.Gets), slices.Clone(o.Counts)
		expected.Outcomes = append(expected.Outcomes, o)
	}
	var list []scenario.Difference
	for _, dev := range Deviations {
		if dev.expect == nil || !dev.Shows() {
			continue
		}
		for i := range expected.Outcomes {
			dev.expect(c, i, &expected.Outcomes[i], func(who, kind, what string) {
				list = append(list, scenario.Difference{Step: i, Who: who, Kind: kind, What: what, Listed: dev.Number})
			})
		}
	}
	wrong := append(scenario.Compare(s, expected, emulator), seenAfterAll(s, expected, emulator)...)
	actual := scenario.Compare(s, ref, emulator)
	for _, d := range wrong {
		d.Listed = excuse(c, d)
		if d.Listed == "" {
			if i := slices.IndexFunc(list, same(d)); i >= 0 && !slices.ContainsFunc(actual, same(d)) {
				d.What = "does as the kernel, though number " + list[i].Listed + " of docs/semantics.md says that it doesn't: " + d.What
				list = slices.Delete(list, i, i+1)
			}
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b scenario.Difference) int { return a.Step - b.Step })
	return list
}

// same finds differences about the same place of the same step.
func same(d scenario.Difference) func(scenario.Difference) bool {
	return func(e scenario.Difference) bool { return d.Step == e.Step && d.Who == e.Who && d.Kind == e.Kind }
}

func excuse(c *course, d scenario.Difference) string {
	for _, dev := range Deviations {
		if dev.excuses != nil && dev.excuses(c, d) {
			return dev.Number
		}
	}
	return ""
}

// seenAfterAll finds siblings' traffic on the emulator's parent: a tap that gets
// nothing is not compared otherwise.
func seenAfterAll(s *scenario.Scenario, expected, emulator *scenario.Result) (list []scenario.Difference) {
	for i := range min(len(s.Steps), len(expected.Outcomes), len(emulator.Outcomes)) {
		send := s.Steps[i].Send
		if send == nil || send.From == scenario.Wire {
			continue
		}
		if slices.ContainsFunc(emulator.Outcomes[i].Gets, incoming) && !slices.ContainsFunc(expected.Outcomes[i].Gets, isTap) {
			list = append(list, scenario.Difference{Step: i, Who: scenario.Tap, Kind: scenario.KindDelivery, What: "sees what siblings say to each other"})
		}
	}
	return list
}

func isTap(d scenario.Delivery) bool { return d.Who == scenario.Tap }

// Excuse marks differences between the emulator's result and what the scenario
// expects, which is what the kernel does, with the numbers of those that Judge
// has found listed.
func Excuse(list, judged []scenario.Difference) []scenario.Difference {
	out := slices.Clone(list)
	for i := range out {
		j := slices.IndexFunc(judged, func(e scenario.Difference) bool { return e.Listed != "" && same(out[i])(e) })
		if j >= 0 {
			out[i].Listed = judged[j].Listed
		}
	}
	return out
}
