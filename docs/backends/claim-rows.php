<?php

/** Gives $userId what the ids in $previous did. Call it before anything else looks at the user's rows. */
function claimRows(PDO $db, string $userId, array $previous): void
{
    if ($previous === []) {
        return;
    }
    $marks = implode(',', array_fill(0, count($previous), '?'));
    $db->beginTransaction();
    foreach (['orders', 'addresses', 'coupons'] as $table) { // every table that has a user_id
        $db->prepare("UPDATE $table SET user_id = ? WHERE user_id IN ($marks)")->execute(array_merge([$userId], $previous));
    }
    $db->commit();
}
