//go:build !linux

package tap

import "errors"

func create(Config) (*Device, error)        { return nil, errors.ErrUnsupported }
func unfinished() (map[int]string, error)   { return nil, errors.ErrUnsupported }
func removeUnfinished(map[int]string) error { return errors.ErrUnsupported }
func probe() error                          { return errors.ErrUnsupported }
func fromFD(int, bool) (*Device, error)     { return nil, errors.ErrUnsupported }
func closeFD(int) error                     { return errors.ErrUnsupported }
func (d *Device) offloadNames() []string    { return nil }
func (d *Device) read([]byte) (int, error)  { return 0, errors.ErrUnsupported }
func (d *Device) write([]byte) error        { return errors.ErrUnsupported }
func (d *Device) name() (string, error)     { return "", errors.ErrUnsupported }
func (d *Device) index() (int, error)       { return 0, errors.ErrUnsupported }
func (d *Device) netns() (int, error)       { return -1, errors.ErrUnsupported }
func (d *Device) moved(int)                 {}
func (d *Device) mac() ([6]byte, error)     { return [6]byte{}, errors.ErrUnsupported }
func (d *Device) setMAC([6]byte) error      { return errors.ErrUnsupported }
func (d *Device) mtu() (int, error)         { return 0, errors.ErrUnsupported }
func (d *Device) setMTU(int) error          { return errors.ErrUnsupported }
func (d *Device) setAlias(string) error     { return errors.ErrUnsupported }
func (d *Device) isUp() (bool, error)       { return false, errors.ErrUnsupported }
func (d *Device) setUp(bool) error          { return errors.ErrUnsupported }
func (d *Device) setCarrier(bool) error     { return errors.ErrUnsupported }
func (d *Device) forget()                   {}
