package scenarios_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strconv"

	tasker "github.com/tasker-systems/tasker-go"
)

// A stock is what an inventory comes to. Money is in cents, so that sums do not
// depend on their order.
type stock struct {
	Rows  int            `json:"rows"`
	Units int            `json:"units"`
	Cents int            `json:"cents"` // of all units
	Kinds map[string]int `json:"kinds"` // rows by category
}

// add adds what another part has.
func (s *stock) add(part stock) {
	s.Rows, s.Units, s.Cents = s.Rows+part.Rows, s.Units+part.Units, s.Cents+part.Cents
	if s.Kinds == nil {
		s.Kinds = map[string]int{}
	}
	for kind, n := range part.Kinds {
		s.Kinds[kind] += n
	}
}

// readCSV returns the header and the rows of a file.
func readCSV(path string) (header []string, rows [][]string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return nil, nil, errors.New("no header")
	}
	return all[0], all[1:], nil
}

// takeStock adds up rows.
func takeStock(header []string, rows [][]string) (stock, error) {
	price, units, kind := slices.Index(header, "price"), slices.Index(header, "stock"), slices.Index(header, "category")
	if min(price, units, kind) < 0 {
		return stock{}, errors.New("a column is missing")
	}
	var all stock
	for _, row := range rows {
		p, err := strconv.ParseFloat(row[price], 64)
		n, err2 := strconv.Atoi(row[units])
		if err := errors.Join(err, err2); err != nil {
			return stock{}, err
		}
		all.add(stock{1, n, n * int(math.Round(p*100)), map[string]int{row[kind]: 1}})
	}
	return all, nil
}

// openCSV reads the file that the context of a task names.
func openCSV(s *tasker.Step) (header []string, rows [][]string, err error) {
	var in struct {
		Path string `json:"csv_file_path"`
	}
	if err := json.Unmarshal(s.Context, &in); err != nil {
		return nil, nil, err
	}
	return readCSV(in.Path)
}

// analyzeCSV cuts a file into batches of the size that the template says.
func analyzeCSV(_ context.Context, s *tasker.Step) (any, error) {
	var config struct {
		Size int `json:"batch_size"`
	}
	_, rows, err := openCSV(s)
	if err := errors.Join(err, json.Unmarshal(s.Config, &config)); err != nil {
		return nil, err
	}
	return tasker.Batches{Cursors: tasker.Range(0, len(rows), config.Size), TotalItems: len(rows)}, nil
}

// processCSV adds up the rows of a batch.
func processCSV(_ context.Context, s *tasker.Step) (any, error) {
	var from, to int
	header, rows, err := openCSV(s)
	if err := errors.Join(err, s.Batch.Bounds(&from, &to)); err != nil {
		return nil, err
	}
	return takeStock(header, rows[from:to])
}

// aggregateCSV adds up what the batches found.
func aggregateCSV(_ context.Context, s *tasker.Step) (any, error) {
	parts, err := tasker.BatchResults[stock](s, "process_csv_batch")
	var all stock
	for _, part := range parts {
		all.add(part)
	}
	return all, err
}
