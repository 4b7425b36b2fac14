package config

import "time"

// The unit of a setting is in its Go type and in the suffix of its TOML key,
// and a test keeps the two together.
type (
	// Milliseconds is a span of time in a key that ends in _ms.
	Milliseconds int
	// Seconds is a span of time in a key that ends in _seconds.
	Seconds int
	// DecimalSeconds is a span of time in a key that ends in _seconds and may
	// have a fraction.
	DecimalSeconds float64
	// Minutes is a span of time in a key that ends in _minutes.
	Minutes int
	// Hours is a span of time in a key that ends in _hours.
	Hours int
	// Days is a span of time in a key that ends in _days. A day has 24 hours.
	Days int
	// Megabytes is an amount of memory in a key that ends in _mb.
	Megabytes int
	// Fraction is a share of a whole, from 0 to 1.
	Fraction float64
	// Percent is a share of a whole, from 0 to 100, in a key that ends in
	// _percent.
	Percent float64
)

// Duration returns m as the standard library counts time.
func (m Milliseconds) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Duration returns s as the standard library counts time.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Duration returns s as the standard library counts time, to the nanosecond.
func (s DecimalSeconds) Duration() time.Duration {
	return time.Duration(float64(s) * float64(time.Second))
}

// Duration returns m as the standard library counts time.
func (m Minutes) Duration() time.Duration { return time.Duration(m) * time.Minute }

// Duration returns h as the standard library counts time.
func (h Hours) Duration() time.Duration { return time.Duration(h) * time.Hour }

// Duration returns d as the standard library counts time.
func (d Days) Duration() time.Duration { return time.Duration(d) * 24 * time.Hour }

// Bytes returns m in bytes; a megabyte has 1024 × 1024 of them.
func (m Megabytes) Bytes() int64 { return int64(m) << 20 }
