package postgres

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestLiterals: PostgreSQL reads back what was written.
func TestLiterals(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	texts := rapid.SliceOfN(rapid.StringOf(rapid.OneOf(
		rapid.SampledFrom([]rune(`{}",\' nNuUlL`)), rapid.Rune().Filter(func(r rune) bool { return r != 0 }),
	)), 1, 5)
	rapid.Check(t, func(rt *rapid.T) {
		wantTexts, wantInts := texts.Draw(rt, "texts"), rapid.SliceOfN(rapid.Int32(), 1, 5).Draw(rt, "ints")
		var gotTexts []string
		var gotInts []int32
		err := conn.QueryRow(t.Context(), `select $1::text::text[], $2::text::int[]`, arrayLiteral(wantTexts), intsLiteral(wantInts)).
			Scan(&gotTexts, &gotInts)
		if err != nil || !slices.Equal(gotTexts, wantTexts) || !slices.Equal(gotInts, wantInts) {
			rt.Fatalf("got %q and %d, want %q and %d (%v)", gotTexts, gotInts, wantTexts, wantInts, err)
		}
	})
	if arrayLiteral(nil) != nil || intsLiteral(nil) != nil {
		t.Error("an empty slice is not null")
	}
}
