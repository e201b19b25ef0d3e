-- Every filter by its name, put in by filters.lua: tests ask whether there is one.
return {}
