-- +goose Up

-- The unionid's user, copied, so that who comes back is found without looking at
-- the unionid's row, which has the last word. NULL where there is no copy.
ALTER TABLE wxgate_identity ADD COLUMN owner_id TEXT;
