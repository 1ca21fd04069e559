package matrix

import (
	"testing"

	"github.com/umacvlan/umacvlan/internal/lab"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

// On devices: the kernel answers as the model and as it was recorded, the
// emulator but for what user space can't do.
func TestOnDevices(t *testing.T) {
	lab.Need(t, lab.NeedNS, lab.NeedTUN)
	before := lab.Measure()
	players := []scenario.Player{scenario.NewModel()}
	emulator := lab.EmulatorPlayer()
	players = append(players, emulator)
	var kernel *lab.Player
	if lab.HasMacvlan() {
		kernel = lab.KernelPlayer()
		players = append(players, kernel)
	}
	m := build(t, players...)
	if err := emulator.Close(); err != nil {
		t.Error(err)
	}
	if kernel != nil {
		if err := kernel.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := before.Leaked(); err != nil {
		t.Error(err)
	}
	list, answers := m.Differences()
	t.Logf("%v: %d answers each", m.Ways, answers)
	for _, d := range list {
		switch {
		case d.Way == scenario.Emulator && d.Who == scenario.Stack && len(d.Kernel) == 0: // semantics.md, 1
		case d.Way == scenario.Emulator && d.Who == "a vmac" && d.Got[0] == "other" && d.Kernel[0] == "host": // 2
		default:
			t.Error(d)
		}
	}
}
