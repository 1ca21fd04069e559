package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/umacvlan/umacvlan/classify"
	"github.com/umacvlan/umacvlan/internal/control"
	"github.com/umacvlan/umacvlan/internal/lab/scenario"
)

func (a *app) explainCommand() *cobra.Command {
	var q question
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [ --config FILE | --socket PATH ] { HEX | CAPTURE[:N] } from { wire | host | VMAC }",
		Short: "Say what becomes of a frame, step by step, and why each vmac gets it or not",
		Long: "explain puts a frame to the decision that a running daemon has now, or that the vmacs of\n" +
			"a scenario file have before its first step (--config), and prints the driver's steps in\n" +
			"their order, then one reason for every vmac. Nothing is sent.\n\n" +
			"The frame is in hexadecimal from the destination address on (blanks, colons and 0x don't\n" +
			"matter), or record N, from 1, of a pcap or pcapng file. It comes from the wire, from the\n" +
			"host's own stack, or from a vmac.",
		Example: "  umacvlan explain ffffffffffff 020000000e01 88b5 from wire\n" +
			"  umacvlan explain trace.pcapng:7 from vmac0\n" +
			"  umacvlan explain --config vepa.scenario --json trace.pcap from wire",
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := q.parse(args); err != nil {
				return err
			}
			x, err := q.ask(cmd.Context(), a.opts.socket)
			if err != nil {
				return err
			}
			return a.printExplanation(x, q, asJSON)
		},
	}
	a.socketFlag(cmd)
	cmd.Flags().StringVar(&q.config, "config", "", "explain by the vmacs of this scenario file, without a daemon")
	cmd.Flags().StringVar(&q.parent, "parent", "", "the parent that is meant by wire or host, if several have vmacs")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// question is what explain is asked.
type question struct {
	config, parent string
	from           string
	frame          *frameArgument
}

func (q *question) parse(args []string) error {
	n := len(args)
	if n < 3 || args[n-2] != "from" {
		return usageError("umacvlan: explain needs a frame and where it comes from; try: umacvlan explain ffffffffffff 020000000e01 88b5 from wire")
	}
	q.from = args[n-1]
	var err error
	q.frame, err = readFrameArgument(args[:n-2])
	return err
}

// ask takes the question to the scenario or to the daemon.
func (q *question) ask(ctx context.Context, socket string) (classify.Explanation, error) {
	outside := q.from == control.FromWire || q.from == control.FromHost
	switch {
	case q.config != "" && socket != "":
		return classify.Explanation{}, usageError("umacvlan: explain goes by a scenario (--config) or by a daemon (--socket), not by both")
	case q.config != "" && q.parent != "":
		return classify.Explanation{}, usageError("umacvlan: --parent goes with a daemon; a scenario has one parent")
	case q.parent != "" && !outside:
		return classify.Explanation{}, usageError("umacvlan: --parent goes with from wire and from host; %s has only one", q.from)
	case q.config != "":
		return q.offline(ctx)
	}
	c, err := control.Dial(socket)
	if err != nil {
		return classify.Explanation{}, err
	}
	defer c.Close()
	return c.Explain(ctx, control.ExplainRequest{Frame: hex.EncodeToString(q.frame.octets), From: q.from, Parent: q.parent})
}

// offline asks the model: the scenario with this frame as its only step.
func (q *question) offline(ctx context.Context) (x classify.Explanation, err error) {
	text, err := os.ReadFile(q.config)
	if err != nil {
		return x, err
	}
	s, err := scenario.Parse(q.config, text)
	if err != nil {
		return x, err
	}
	if q.from != scenario.Wire && q.from != scenario.Host &&
		!slices.ContainsFunc(s.Vmacs, func(v scenario.Vmac) bool { return v.Name == q.from }) {
		return x, nodev(q.from)
	}
	if q.from == scenario.Host {
		return explainHost(ctx, s, q.frame.octets)
	}
	return playFrame(ctx, s, q.from, q.frame.octets)
}

// playFrame lets the model send a frame before the scenario's first step.
func playFrame(ctx context.Context, s *scenario.Scenario, from string, frame []byte) (x classify.Explanation, err error) {
	one := *s
	one.Only = nil
	one.Steps = []scenario.Step{{Send: &scenario.Send{From: from, Bytes: frame, Times: 1}}}
	r, err := scenario.NewModel().Play(ctx, &one)
	if err != nil {
		return x, err
	}
	o := r.Outcomes[0]
	switch {
	case !o.Answer.OK():
		return x, &failure{exitRefused, []string{fmt.Sprintf("umacvlan: a socket on %s can't send this frame: %s", from, o.Answer.Errno)}}
	case o.Explained == nil:
		return x, fmt.Errorf("%s: the frame never got to macvlan", s.File)
	}
	return *o.Explained, nil
}

// explainHost asks the table what it says of the host's own frame: the model
// has no need to. Of the vmacs only who they are matters then.
func explainHost(ctx context.Context, s *scenario.Scenario, frame []byte) (x classify.Explanation, err error) {
	probe := slices.Repeat([]byte{0xff}, 60)
	if x, err = playFrame(ctx, s, scenario.Wire, probe); err != nil {
		return x, err
	}
	var spec classify.Spec
	for _, v := range x.Vmacs {
		spec.Vmacs = append(spec.Vmacs, classify.Vmac{Name: v.Name, Mode: v.Mode, MAC: v.MAC, Up: v.Up})
	}
	table, err := classify.NewTable(&spec)
	if err != nil {
		return x, err
	}
	x = table.Explain(frame, classify.FromWire, classify.Meta{Type: classify.TypeOutgoing})
	x.From, x.Verdict.Host, x.Verdict.Wire = control.FromHost, false, true
	return x, nil
}

// printExplanation writes the frame in one line, then the explanation.
func (a *app) printExplanation(x classify.Explanation, q question, asJSON bool) error {
	line := describeFrame(q.frame.octets)
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			Frame string `json:"frame"`
			Of    string `json:"capture,omitempty"`
			classify.Explanation
		}{line, q.frame.origin, x})
	}
	if q.frame.origin != "" {
		line += " (" + q.frame.origin + ")"
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n%v", line, x)
	return err
}
