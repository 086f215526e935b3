// What a person has changed of a flag and not yet saved: small edits, that are laid over whatever
// revision the flag has by then, so that nothing is lost when somebody else was faster.

/** The flag with the edits laid over it. */
export function edited(flag, edits) {
  const overrides = { ...flag.overrides };
  for (const [user, variant] of Object.entries(edits.overrides || {}))
    if (variant === null) delete overrides[user];
    else overrides[user] = variant;
  let rollout = flag.rollout || null;
  if (edits.share !== undefined || edits.arms) {
    const arms = { ...(rollout?.arms || {}), ...edits.arms };
    rollout = { share: edits.share ?? rollout?.share ?? 0, salt: rollout?.salt || flag.key, arms };
  }
  return {
    ...flag,
    enabled: edits.enabled ?? flag.enabled,
    default_variant: edits.default_variant ?? flag.default_variant,
    targeting: edits.targeting === undefined ? flag.targeting : edits.targeting,
    archived: edits.archived ?? flag.archived,
    overrides, rollout,
  };
}

/** The fields that differ, as the gateway takes them. */
export function changeOf(flag, edits) {
  const after = edited(flag, edits);
  const change = {};
  for (const name of ["enabled", "default_variant", "rollout", "overrides", "targeting", "archived"]) {
    const now = emptied(after[name]) ?? null;
    if (!same(flag[name] ?? null, now)) change[name] = now;
  }
  return change;
}

/** Tell in words how a flag differs from what it was; nothing for equal ones. */
export function differences(before, after) {
  const said = [];
  if (before.enabled !== after.enabled) said.push(after.enabled ? "switched on" : "switched off");
  if (Boolean(before.archived) !== Boolean(after.archived)) said.push(after.archived ? "archived" : "restored");
  if (before.default_variant !== after.default_variant)
    said.push(`default ${before.default_variant} → ${after.default_variant}`);
  if (share(before) !== share(after)) said.push(`share ${percent(share(before))} → ${percent(share(after))}`);
  const arms = [before.rollout?.arms || {}, after.rollout?.arms || {}];
  if (!same(...arms)) said.push(`arms ${weights(arms[0])} → ${weights(arms[1])}`);
  const [old, now] = [before.overrides || {}, after.overrides || {}];
  for (const user of new Set([...Object.keys(old), ...Object.keys(now)]))
    if (old[user] !== now[user]) said.push(now[user] ? `${user} gets ${now[user]}` : `${user} is freed`);
  for (const name of ["variants", "targeting", "slot", "description"])
    if (!same(before[name] ?? null, after[name] ?? null)) said.push(`${name} changed`);
  if ((before.rollout?.salt ?? "") !== (after.rollout?.salt ?? "") && before.rollout && after.rollout) said.push("salt changed");
  return said;
}

/** A rule as a person has written it; null: none. Throws with what to do for what is no JSON. */
export function parsedRule(text) {
  if (!text.trim()) return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`targeting: ${error.message}; give a rule in JSON`);
  }
}

/** Percent as a person has written it, in thousandths of a percent. */
export function thousandths(text) {
  return Math.round(Math.min(100, Math.max(0, Number(text) || 0)) * 1000);
}

/** A share in thousandths of a percent, as a person reads it. */
export function percent(thousandths) {
  return thousandths === null ? "none" : `${thousandths / 1000} %`;
}

function share(flag) {
  return flag.rollout ? flag.rollout.share : null;
}

function weights(arms) {
  return Object.entries(arms).map(([name, weight]) => `${name}=${weight}`).join(" ") || "none";
}

function emptied(value) {
  return value && typeof value === "object" && !Object.keys(value).length ? null : value;
}

function same(one, other) {
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
}

function sorted(value) {
  if (!value || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
}
