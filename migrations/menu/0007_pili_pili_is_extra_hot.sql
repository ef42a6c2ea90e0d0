-- breaking: app releases before 2.3 do not know the spiciness extra_hot and answer with an error
-- migrate:up
UPDATE menu_menuitem SET spiciness = 'extra_hot' WHERE spiciness = 'hot' AND name LIKE '%pili-pili%';

-- migrate:down
UPDATE menu_menuitem SET spiciness = 'hot' WHERE spiciness = 'extra_hot';
