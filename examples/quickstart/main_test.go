package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const expected = `billing.invoice: PROGRESS, 40 of 100
billing.invoice: SUCCESS, number 2026-0042 over 99.50
mail.newsletter: SUCCESS, 3 sent
billing.refund: FAILURE, a ValueError that says "nothing was paid"
billing.invoice: a late PROGRESS was refused, SUCCESS stands
closed and opened again:
billing.invoice: SUCCESS, kept in the database
mail.newsletter: PENDING, gone with the memory that held it
of acme: billing.invoice[4711], SUCCESS, with times: true
`

func TestQuickstartPrintsWhatItPromises(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	require.NoError(t, quickstart(t.Context(), dir, &out))
	require.Equal(t, expected, out.String())
	require.FileExists(t, filepath.Join(dir, "results.sqlite3"))
}

func TestQuickstartLeavesNothingBehindWithoutAFolder(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	var out bytes.Buffer
	require.NoError(t, quickstart(t.Context(), "", &out))
	left, err := filepath.Glob(filepath.Join(temporary, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
