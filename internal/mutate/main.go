// Mutate shows that tests can fail. It breaks a package in one place at a time,
// in every comparison, boolean operator, condition, bit operator and return of
// it, and runs the package's tests on each of these mutants.
//
//	go run ./internal/mutate ./classify ./internal/control/rules
//
// It prints how many of the mutants the tests noticed, and the others. It fails
// if that is less than 98 % of a package's, if a mutant survives that
// equivalent.txt doesn't explain, or if one dies that it lists.
//
// All mutants but those of constants are compiled at once, each behind a
// condition on a variable that comes from the environment: the tests' binary is
// built once and started for each mutant. The checkout isn't touched (go build
// -overlay). A mutant that takes far more processor time than the tests need is
// dead.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"
)

// least is the share of mutants that the tests must kill, in percent.
const least = 98

//go:embed equivalent.txt
var equivalentText string

func main() {
	parallel := flag.Int("j", 2, "run the tests of so many mutants at once")
	at := flag.String("at", "", "only the mutants whose description matches this regular `expression`; the share isn't asked then")
	list := flag.Bool("list", false, "print the mutants, don't run them")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go run ./internal/mutate [-j N] [-at EXPRESSION] [-list] PACKAGE...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(1)
	}
	if err := run(flag.Args(), *parallel, *at, *list); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(dirs []string, parallel int, at string, list bool) error {
	only, err := regexp.Compile(at)
	if err != nil {
		return err
	}
	equivalent, err := parseEquivalents(equivalentText)
	if err != nil {
		return err
	}
	failed := false
	for _, dir := range dirs {
		p, err := load(dir)
		if err != nil {
			return err
		}
		p.findMutants()
		if at != "" {
			p.keep(only)
		}
		if list {
			for _, m := range p.mutants {
				fmt.Println(m)
			}
			continue
		}
		start := time.Now()
		if err := p.test(parallel); err != nil {
			return err
		}
		bad := p.report(os.Stdout, equivalent, at == "", time.Since(start))
		failed = failed || bad
	}
	if failed {
		return errors.New("the tests let mutants live, or equivalent.txt is out of date")
	}
	return nil
}
